/*
 * The program in the README's tour, unchanged but for the gateway's address.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { conversation, person, send, tokenOf, url } from './harness.mjs';

const here = new URL('.', import.meta.url);

test('the program of the README prints what arrives', { timeout: 60000 }, async t => {
  const readme = await fs.readFile(new URL('../../README.md', here), 'utf8');
  const [, program] = readme.match(/^```js\n(.*?)^```$/ms);
  assert.ok(program.includes("'http://127.0.0.1:4000'"));

  /* Below this directory, for its packages. */
  const build = new URL(`.build/readme-${process.pid}/`, here);
  const file = new URL('listen.mjs', build);
  await fs.mkdir(build, { recursive: true });
  t.after(() => fs.rm(build, { recursive: true, force: true }));
  await fs.writeFile(file, program.replace('http://127.0.0.1:4000', url));

  const [alice, bob] = [await person('Alice'), await person('Bob')];
  const talk = await conversation(alice, bob);
  const child = spawn(process.execPath, ['--no-warnings', file.pathname, tokenOf(bob), talk],
    { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill());
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();

  assert.equal((await lines.next()).value, 'SUBSCRIBED');
  await send(alice, talk, 'Can you hear me?');
  assert.equal((await lines.next()).value, '1 Can you hear me?');
});
