/*
 * The document's Frontend code, unchanged (document.tsx is its text), run by
 * real React in a DOM.  Two lines are put around it: the import of React's
 * hooks, which the excerpt leaves out, and an export of its client, so that
 * the test can disconnect it.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs/promises';
import { after, test } from 'node:test';
import esbuild from 'esbuild';
import { JSDOM } from 'jsdom';
import { anonKey, as, connect, conversation, flush, listen, person, send, tokenOf,
  url } from './harness.mjs';

const here = new URL('.', import.meta.url);
const { window } = new JSDOM('<!doctype html><body></body>', { url: 'http://localhost/' });
Object.assign(globalThis, { window, document: window.document });
globalThis.navigator ??= window.navigator;
/* There are no other tabs, and a channel to them would keep Node running. */
delete globalThis.BroadcastChannel;
const { createElement } = await import('react');
const { createRoot } = await import('react-dom/client');

const build = new URL(`.build/${process.pid}/`, here);
await fs.mkdir(build, { recursive: true });
after(() => fs.rm(build, { recursive: true, force: true }));

/* The document's module with a client of its own. */
async function documentModule(key) {
  process.env.NEXT_PUBLIC_SUPABASE_URL = url;
  process.env.NEXT_PUBLIC_SUPABASE_KEY = key;
  const source = await fs.readFile(new URL('document.tsx', here), 'utf8');
  const { code } = await esbuild.transform(source, { loader: 'tsx', format: 'esm' });
  const file = new URL(`${randomUUID()}.mjs`, build);
  await fs.writeFile(file, `import { useEffect, useState } from 'react';
${code}
export { supabase };
`);
  return import(file);
}

/* A page that shows a conversation with it, newest first. */
async function openPage(t, key, conversationId) {
  const { supabase, useConversationRealtime } = await documentModule(key);
  const list = document.body.appendChild(document.createElement('ul'));
  const root = createRoot(list);
  const Room = ({ id }) => useConversationRealtime(id).messages.map(message =>
    createElement('li', { key: message.id }, message.content));

  const page = {
    supabase,
    show: id => root.render(createElement(Room, { id })),
    close: () => root.unmount(),
    texts: () => [...list.querySelectorAll('li')].map(li => li.textContent),
    /* Until the page shows what is expected, newest first. */
    shows: (...expected) => new Promise((resolve, reject) => {
      const observer = new window.MutationObserver(check);
      const timer = setTimeout(() => {
        observer.disconnect();
        reject(new Error(`expected ${expected}; the page shows ${page.texts()}`));
      }, 20000);
      function check() {
        if (String(page.texts().slice(0, expected.length)) !== String(expected))
          return;
        clearTimeout(timer);
        observer.disconnect();
        resolve();
      }
      observer.observe(list, { childList: true, subtree: true, characterData: true });
      check();
    }),
  };
  t.after(() => {
    page.close();
    return supabase.realtime.disconnect();
  });
  page.show(conversationId);
  await subscribed(page, conversationId);
  return page;
}

/* The hook does not tell when its subscription stands; its client does. */
async function subscribed({ supabase }, conversationId) {
  const topic = `realtime:room:${conversationId}`;
  while (supabase.getChannels().find(c => c.topic === topic)?.state !== 'joined')
    await new Promise(resolve => setTimeout(resolve, 10));
}

async function pair() {
  return [await person('Ana'), await person('Ben')];
}

test('the hook shows new messages, newest first', async t => {
  const [ana, ben] = await pair();
  const talk = await conversation(ana, ben);
  const page = await openPage(t, tokenOf(ana), talk);

  await send(ben, talk, 'first');
  await send(ana, talk, 'second <b>& third</b>');
  await page.shows('second <b>& third</b>', 'first');
  assert.equal(page.texts().length, 2);
});

test('it follows the conversation that the page shows', async t => {
  const [ana, ben] = await pair();
  const one = await conversation(ana, ben);
  const two = await conversation(ana, ben);
  const page = await openPage(t, tokenOf(ana), one);
  await send(ben, one, 'in the first');
  await page.shows('in the first');

  page.show(two);
  await subscribed(page, two);
  await send(ben, one, 'behind the door');
  await send(ben, two, 'in the second');
  await page.shows('in the second', 'in the first');
});

test('unmounting removes the channel', async t => {
  const [ana, ben] = await pair();
  const talk = await conversation(ana, ben);
  const page = await openPage(t, tokenOf(ana), talk);
  page.close();
  assert.deepEqual(page.supabase.getChannels(), []);

  const reader = await listen(await connect(t, ana), 'reader',
    { event: 'INSERT', table: 'messages' });
  await send(ben, talk, 'to nobody');
  await reader.content('to nobody');
  assert.deepEqual(page.texts(), []);
});

test('with the anonymous key it shows nothing', async t => {
  const [ana, ben] = await pair();
  const talk = await conversation(ana, ben);
  const page = await openPage(t, anonKey, talk);
  const reader = await listen(await connect(t, ana), 'reader',
    { event: 'INSERT', table: 'messages' });

  for (let i = 0; i < 10; i++)
    await send(ben, talk, `secret ${i}`);
  await reader.content('secret 9');
  await flush(page.supabase);
  assert.deepEqual(page.texts(), []);
});

test('a row of the document\'s own insert arrives too', async t => {
  const [ana, ben] = await pair();
  const talk = await conversation(ana, ben);
  const page = await openPage(t, tokenOf(ana), talk);

  await as(ben, query => query(
    `INSERT INTO messages (conversation_id, sender_profile_id, content,
                           content_type, reply_to_message_id)
     VALUES ($1, $2, 'by plain INSERT', 'text', NULL)`, talk, ben));
  await page.shows('by plain INSERT');
});
