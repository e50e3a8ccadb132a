/*
 * Two people in two windows of a real browser, on the demo as "make demo"
 * starts it.  Asserts what stands on the page; an error on a page's console
 * fails the test.
 *
 * The demo is started here, and at the end stopped as Ctrl-C does it: then
 * nothing may be left of it.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const root = fileURLToPath(new URL('../..', import.meta.url));
const screenshots = process.env.OPENHR_MSG_SCREENSHOTS;
let demo, output = '', browser, url;
const complaints = [];

/* Two ports in a row that nobody has. */
async function freePorts() {
  const listen = port => new Promise((resolve, reject) => {
    const server = net.createServer().once('error', reject)
      .listen(port, '127.0.0.1', () => server.close(() => resolve(port)));
  });
  for (;;) {
    const port = 20000 + Math.floor(Math.random() * 10000);
    try {
      await listen(port);
      await listen(port + 1);
      return port;
    } catch { /* taken: try others */ }
  }
}

function said(pattern) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the demo did not say ${pattern}:\n${output}`)),
      120000);
    const check = () => {
      const match = output.match(pattern);
      if (!match)
        return;
      clearTimeout(timer);
      resolve(match);
    };
    demo.stdout.on('data', check);
    demo.on('exit', code => reject(new Error(`the demo ended with ${code}:\n${output}`)));
    check();
  });
}

before(async () => {
  demo = spawn(path.join(root, 'test/demo'), [], {
    env: { ...process.env, DEMO_PORT: String(await freePorts()) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [demo.stdout, demo.stderr])
    stream.on('data', data => { output += data; });
  [, url] = await said(/(http:\/\/127\.0\.0\.1:\d+)\/\?as=amara/);
  await said(/Ctrl-C/);
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
      '--disable-dev-shm-usage'],
  });
});

after(async () => {
  await browser?.close();
  if (demo.exitCode === null)
    demo.kill('SIGKILL');
});

/* A window of its own, as somebody else's computer would have it. */
async function open(who, { viewport = { width: 1200, height: 800 }, conversation } = {}) {
  const context = await browser.newContext({ viewport });
  const page = await context.newPage();
  page.setDefaultTimeout(15000);
  page.on('console', message => {
    if (['error', 'warning'].includes(message.type()))
      complaints.push(`${who}: ${message.text()}`);
  });
  page.on('pageerror', error => complaints.push(`${who}: ${error}`));
  await page.goto(`${url}/?as=${who}`);
  await page.locator('#connection[data-state="live"]').waitFor();
  if (conversation) {
    await page.locator('#conversations button', { hasText: conversation }).first().click();
    await page.locator('#messages .message').first().waitFor();
  }
  return page;
}

const message = (page, text) => page.locator('#messages .message', { hasText: text });

async function write(page, text) {
  await page.locator('#text').fill(text);
  await page.locator('#text').press('Enter');
}

async function shoot(page, name) {
  if (screenshots)
    await page.screenshot({ path: path.join(screenshots, `${name}.png`) });
}

test('the chooser offers six people', async () => {
  const page = await (await browser.newContext()).newPage();
  await page.goto(url);
  await page.locator('#people a').nth(5).waitFor();
  assert.deepEqual(await page.locator('#people strong').allTextContents(),
    ['Amara Okafor', 'Ben Lindqvist', 'Chloé Marchand', 'Dario Conti', 'Emi Tanaka', 'Farid Haddad']);
  await shoot(page, 'chooser');
  await page.locator('#people a', { hasText: 'Amara' }).click();
  await page.locator('#me-name', { hasText: 'Amara Okafor' }).waitFor();
});

test('the list shows conversations, last words and what is unread', async () => {
  const amara = await open('amara');
  await amara.locator('#conversations li').nth(3).waitFor();
  const titles = await amara.locator('#conversations strong').allTextContents();
  assert.deepEqual(titles.sort(),
    ['Ben Lindqvist', 'Chloé Marchand', 'Founders\' dinner', 'Lumen founding team']);
  const ben = amara.locator('#conversations button', { hasText: 'Ben Lindqvist' });
  assert.match(await ben.locator('.last').textContent(), /good coffee tomorrow/);
  assert.equal(await ben.locator('.badge').textContent(), '3');
  await shoot(amara, 'list');
  await amara.context().close();
});

test('history has days, replies, an edit and a tombstone', async () => {
  const chloe = await open('chloe', { conversation: 'Amara Okafor' });
  await message(chloe, 'Deleted code, mostly.').waitFor();
  assert.ok(await chloe.locator('#messages .day').count() >= 6);
  assert.match(await message(chloe, 'Told you: one factory.').locator('blockquote').textContent(),
    /Amara Okafor.*error down by a third/);
  assert.match(await message(chloe, 'with the same result').locator('.meta').textContent(), /edited/);
  assert.equal(await chloe.locator('.message[data-deleted="true"] .text').textContent(),
    'Message deleted');
  assert.equal(await message(chloe, 'DE00').count(), 0);
  await shoot(chloe, 'history');
  await chloe.context().close();
});

test('suggested openers are chips that fill the composer', async () => {
  const dario = await open('dario');
  await dario.locator('#conversations button', { hasText: 'Farid Haddad' }).click();
  const chip = dario.locator('.suggested button').first();
  const text = await chip.textContent();
  await chip.click();
  assert.equal(await dario.locator('#text').inputValue(), text);
  await dario.context().close();
});

test('two windows chat live', async t => {
  const amara = await open('amara', { conversation: 'Ben Lindqvist' });
  const ben = await open('ben', { conversation: 'Amara Okafor' });

  await t.test('what one sends, the other one sees', async () => {
    await write(amara, 'Numbers are on their way. <b>All</b> of them & more');
    await message(ben, 'Numbers are on their way. <b>All</b> of them & more').waitFor();
    assert.equal(await ben.locator('#messages b').count(), 0);
    assert.equal(await message(amara, 'Numbers are on their way').count(), 1);
    await write(ben, 'Got them');
    await message(amara, 'Got them').waitFor();
    assert.equal(await message(ben, 'Got them').count(), 1);
  });

  await t.test('the list follows, with the newest on top', async () => {
    for (const page of [amara, ben])
      await page.locator('#conversations li:first-child .last', { hasText: 'Got them' }).waitFor();
  });

  await t.test('a reader\'s ticks reach the sender', async () => {
    await ben.bringToFront();
    await ben.locator('#text').focus();
    await message(amara, 'Numbers are on their way').locator('.ticks[data-read="true"]').waitFor();
    assert.equal(await message(amara, 'Numbers are on their way').locator('.ticks')
      .getAttribute('aria-label'), 'Read by Ben Lindqvist');
    assert.equal(await message(ben, 'Numbers are on their way').locator('.ticks').count(), 0);
  });

  await t.test('a reply quotes what it answers', async () => {
    await message(ben, 'Numbers are on their way').hover();
    await message(ben, 'Numbers are on their way').getByRole('button', { name: 'Reply' }).click();
    await write(ben, 'Thanks for these');
    const reply = message(amara, 'Thanks for these');
    await reply.waitFor();
    assert.match(await reply.locator('blockquote').textContent(), /Amara Okafor.*Numbers are on their way/);
  });

  await t.test('an edit shows in both', async () => {
    await message(ben, 'Got them').hover();
    await message(ben, 'Got them').getByRole('button', { name: 'Edit' }).click();
    assert.equal(await ben.locator('#text').inputValue(), 'Got them');
    await write(ben, 'Got them all');
    for (const page of [amara, ben]) {
      await message(page, 'Got them all').waitFor();
      assert.match(await message(page, 'Got them all').locator('.meta').textContent(), /edited/);
    }
    assert.equal(await amara.locator('#messages .text', { hasText: /^Got them$/ }).count(), 0);
  });

  await t.test('nobody can change what another one wrote', async () => {
    await message(amara, 'Got them all').hover();
    assert.equal(await message(amara, 'Got them all').getByRole('button', { name: 'Edit' }).count(), 0);
  });

  await t.test('a deleted message leaves a tombstone in both', async () => {
    const before = await amara.locator('.message[data-deleted="true"]').count();
    await message(ben, 'Got them all').hover();
    await message(ben, 'Got them all').getByRole('button', { name: 'Delete' }).click();
    await message(ben, 'Got them all').getByRole('button', { name: 'Delete for all?' }).click();
    for (const page of [amara, ben]) {
      await page.locator('.message[data-deleted="true"]').nth(before).waitFor();
      assert.equal(await message(page, 'Got them all').count(), 0);
    }
  });

  await t.test('many lines, other scripts and long words stand as they were written', async () => {
    const text = `first line\nsecond line 世界 مرحبا 🙂\n${'x'.repeat(200)}`;
    await write(ben, text);
    await message(amara, 'second line').waitFor();
    assert.equal(await message(amara, 'second line').locator('.text').textContent(), text);
    const fits = await amara.evaluate(() =>
      document.documentElement.scrollWidth <= document.documentElement.clientWidth);
    assert.ok(fits, 'the page does not scroll sideways');
  });

  await shoot(amara, 'amara');
  await shoot(ben, 'ben');
  await amara.context().close();
  await ben.context().close();
});

test('unread messages are counted until they are read', async () => {
  const emi = await open('emi');
  const chloe = await open('chloe', { conversation: 'Founders\' dinner' });
  const item = emi.locator('#conversations button', { hasText: 'Founders\' dinner' });
  await item.waitFor();
  assert.equal(await item.locator('.badge').count(), 0);
  await write(chloe, 'Spring it is');
  await item.locator('.badge', { hasText: '1' }).waitFor();
  await item.click();
  await message(emi, 'Spring it is').waitFor();
  await item.locator('.badge').waitFor({ state: 'detached' });
  await emi.context().close();
  await chloe.context().close();
});

test('what a window missed while it was away is there when it is back', async () => {
  const amara = await open('amara', { conversation: 'Chloé Marchand' });
  const chloe = await open('chloe', { conversation: 'Amara Okafor' });
  await amara.context().setOffline(true);
  await amara.locator('#connection[data-state="reconnecting"]').waitFor({ timeout: 60000 });
  await write(chloe, 'Are you away?');
  await message(chloe, 'Are you away?').waitFor();
  await amara.context().setOffline(false);
  await message(amara, 'Are you away?').waitFor({ timeout: 60000 });
  assert.equal(await message(amara, 'Are you away?').count(), 1);
  await amara.context().close();
  await chloe.context().close();
});

test('a telephone shows the list or the conversation', async () => {
  const dario = await open('dario', { viewport: { width: 390, height: 844 } });
  await dario.locator('#conversations button', { hasText: 'Lumen' }).click();
  await message(dario, 'Try to not find it').waitFor();
  assert.equal(await dario.locator('#sidebar').isVisible(), false);
  await shoot(dario, 'telephone');
  await dario.locator('#back').click();
  await dario.locator('#sidebar').waitFor();
  assert.equal(await dario.locator('#room').isVisible(), false);
  await dario.context().close();
});

test('no page has complained', () => {
  assert.deepEqual(complaints, []);
});

test('stopped by Ctrl-C, the demo leaves nothing behind', async () => {
  const [, scratch] = output.match(/psql -h (\/tmp\/openhr_msg\.\w+)\//);
  const ended = new Promise(resolve => demo.on('exit', resolve));
  demo.kill('SIGINT');
  await ended;
  await assert.rejects(fs.stat(scratch), { code: 'ENOENT' });
  await assert.rejects(fetch(url), /fetch failed/);
});
