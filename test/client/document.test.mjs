/*
 * The document's Frontend code, unchanged (document.tsx is its text), run by
 * real React in a DOM.  The only addition is the import of React's hooks,
 * which the document's excerpt leaves out.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import { after, test } from 'node:test';
import esbuild from 'esbuild';
import { JSDOM } from 'jsdom';
import { as, anonKey, conversation, connect, listen, person, send, sql,
  tokenOf, url } from './harness.mjs';

const here = new URL('.', import.meta.url);
const { window } = new JSDOM('<!doctype html><body></body>');
Object.assign(globalThis, { window, document: window.document });
const { createElement } = await import('react');
const { createRoot } = await import('react-dom/client');

const build = new URL(`.build/${process.pid}/`, here);
await fs.mkdir(build, { recursive: true });
after(() => fs.rm(build, { recursive: true, force: true }));

/* The hook in a module of its own, so that it has a client of its own. */
async function documentHook(key) {
  process.env.NEXT_PUBLIC_SUPABASE_URL = url;
  process.env.NEXT_PUBLIC_SUPABASE_KEY = key;
  const source = await fs.readFile(new URL('document.tsx', here), 'utf8');
  const { code } = await esbuild.transform(source, { loader: 'tsx', format: 'esm' });
  const file = new URL(`${crypto.randomUUID()}.mjs`, build);
  await fs.writeFile(file, `import { useEffect, useState } from 'react';\n${code}`);
  return (await import(file)).useConversationRealtime;
}

/* Shows a conversation with it; the items' texts, newest first. */
function mount(t, hook, conversationId) {
  const container = document.body.appendChild(document.createElement('ul'));
  const root = createRoot(container);
  const Room = ({ id }) => hook(id).messages.map(message =>
    createElement('li', { key: message.id }, message.content));
  root.render(createElement(Room, { id: conversationId }));
  t.after(() => root.unmount());
  return {
    show: id => root.render(createElement(Room, { id })),
    unmount: () => root.unmount(),
    texts: () => [...container.querySelectorAll('li')].map(li => li.textContent),
    until: condition => new Promise((resolve, reject) => {
      const observer = new window.MutationObserver(check);
      const timer = setTimeout(() => {
        observer.disconnect();
        reject(new Error(`the page shows: ${container.innerHTML}`));
      }, 20000);
      function check() {
        if (!condition())
          return;
        clearTimeout(timer);
        observer.disconnect();
        resolve();
      }
      observer.observe(container, { childList: true, subtree: true, characterData: true });
      check();
    }),
  };
}

/* Send until the page shows something: the hook does not tell when its
 * subscription stands, so the first messages may be before it. */
async function sendUntilShown(room, sender, conversationId) {
  let shown = false;
  const first = room.until(() => room.texts().length > 0).then(() => { shown = true; });
  for (let i = 0; !shown; i++) {
    await send(sender, conversationId, `are you there? ${i}`);
    await Promise.race([first, new Promise(resolve => setTimeout(resolve, 100))]);
  }
  await first;
}

test('the hook shows new messages, newest first', async t => {
  const [ana, ben] = [await person('Ana'), await person('Ben')];
  const talk = await conversation(ana, ben);
  const room = mount(t, await documentHook(tokenOf(ana)), talk);
  await sendUntilShown(room, ben, talk);

  await send(ben, talk, 'first');
  await send(ana, talk, 'second <b>& third</b>');
  await room.until(() => room.texts()[0] === 'second <b>& third</b>');
  assert.deepEqual(room.texts().slice(0, 2), ['second <b>& third</b>', 'first']);
});

test('it follows the conversation that the page shows', async t => {
  const [ana, ben] = [await person('Ana'), await person('Ben')];
  const [one, two] = [await conversation(ana, ben), await conversation(ana, ben)];
  const room = mount(t, await documentHook(tokenOf(ana)), one);
  await sendUntilShown(room, ben, one);

  const before = room.texts().length;
  room.show(two);
  /* The state stays, as the document has it; what comes now is of "two". */
  const more = mount(t, await documentHook(tokenOf(ana)), two);
  await sendUntilShown(more, ben, two);
  await room.until(() => room.texts().length > before);
  await send(ben, one, 'behind the door');
  await send(ben, two, 'in the room');
  await room.until(() => room.texts()[0] === 'in the room');
  assert.ok(!room.texts().includes('behind the door'));
});

test('unmounting removes the channel', async t => {
  const [ana, ben] = [await person('Ana'), await person('Ben')];
  const talk = await conversation(ana, ben);
  const room = mount(t, await documentHook(tokenOf(ana)), talk);
  await sendUntilShown(room, ben, talk);
  room.unmount();

  /* A second reader shows that the message went out. */
  const reader = await listen(await connect(t, ana), 'reader', { event: 'INSERT', table: 'messages' });
  await send(ben, talk, 'to nobody');
  await reader.content('to nobody');
  assert.deepEqual(room.texts(), []);
});

test('with the anonymous key it shows nothing', async t => {
  const [ana, ben] = [await person('Ana'), await person('Ben')];
  const talk = await conversation(ana, ben);
  const room = mount(t, await documentHook(anonKey), talk);
  const reader = await listen(await connect(t, ana), 'reader', { event: 'INSERT', table: 'messages' });
  for (let i = 0; i < 20; i++)
    await send(ben, talk, `secret ${i}`);
  await reader.content('secret 19');
  assert.deepEqual(room.texts(), []);
});

test('messages of the document\'s own insert arrive too', async t => {
  const [ana, ben] = [await person('Ana'), await person('Ben')];
  const talk = await conversation(ana, ben);
  const room = mount(t, await documentHook(tokenOf(ana)), talk);
  await sendUntilShown(room, ben, talk);

  await as(ben, query => query(
    `INSERT INTO messages (conversation_id, sender_profile_id, content, content_type, reply_to_message_id)
     VALUES ($1, $2, 'by plain INSERT', 'text', NULL)`, talk, ben));
  await room.until(() => room.texts()[0] === 'by plain INSERT');
  assert.equal((await sql('SELECT count(*) FROM messages WHERE conversation_id = $1', talk))[0].count,
    room.texts().length + await notShown(talk, room));
});

/* How many of a conversation's messages are not on the page. */
async function notShown(conversationId, room) {
  const rows = await sql('SELECT content FROM messages WHERE conversation_id = $1', conversationId);
  return rows.filter(row => !room.texts().includes(row.content)).length;
}
