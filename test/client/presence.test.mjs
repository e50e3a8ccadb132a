/*
 * Presence: the document's code, and who is seen when, by whom.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs/promises';
import { after, test } from 'node:test';
import esbuild from 'esbuild';
import { JSDOM } from 'jsdom';
import { connect, conversation, person, serviceKey, sql, tokenOf, url } from './harness.mjs';
import { setting, talk, Talker } from './talker.mjs';

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

/* A page with the document's code (presence.tsx is its text) in a component. */
async function openPage(t, profile, conversationId) {
  const excerpt = await fs.readFile(new URL('presence.tsx', here), 'utf8');
  const { code } = await esbuild.transform(excerpt, { loader: 'tsx', format: 'esm' });
  const file = new URL(`${randomUUID()}.mjs`, build);
  await fs.writeFile(file, `import { useEffect, useState } from 'react';
import { createClient } from '@supabase/supabase-js';
export const supabase = createClient(${JSON.stringify(url)}, ${JSON.stringify(tokenOf(profile))});
export function useOnlineUsers(conversationId, userId) {
  const [onlineUsers, setOnlineUsers] = useState([]);
${code}
  return onlineUsers;
}
`);
  const { supabase, useOnlineUsers } = await import(file);
  const list = document.body.appendChild(document.createElement('ul'));
  const root = createRoot(list);
  const Online = () => useOnlineUsers(conversationId, profile).map(user =>
    createElement('li', { key: user }, user));
  root.render(createElement(Online));
  const page = {
    close: () => root.unmount(),
    shows: async (...users) => {
      const wanted = String(users.sort());
      const shown = () => String([...list.querySelectorAll('li')].map(li => li.textContent).sort());
      for (let left = 2000; shown() !== wanted; left--) {
        assert.ok(left > 0, `expected ${wanted}; the page shows ${shown()}`);
        await new Promise(resolve => setTimeout(resolve, 10));
      }
    },
  };
  t.after(() => {
    page.close();
    return supabase.realtime.disconnect();
  });
  return page;
}

async function scene(t, n = 2, options = []) {
  const people = [];
  for (const name of ['Ana', 'Ben', 'Cem'].slice(0, n))
    people.push(await person(name));
  const room = await conversation(...people);
  const clients = await Promise.all(people.map((one, i) => connect(t, one, options[i])));
  return { people, room, topic: `presence:${room}`, clients };
}

const keyed = key => ({ presence: { key } });
const plain = metas => metas.map(({ presence_ref, ...rest }) => rest);

test('the document\'s code shows who is online', async t => {
  const { people: [ana, ben], room } = await scene(t);
  const one = await openPage(t, ana, room);
  await one.shows(ana);
  const other = await openPage(t, ben, room);
  await one.shows(ana, ben);
  await other.shows(ana, ben);
  other.close();
  await one.shows(ana);
});

for (const vsn of ['1.0.0', '2.0.0']) {
  test(`joins, updates and leaves in version ${vsn}`, async t => {
    const { topic, clients } = await scene(t, 2, [{ realtime: { vsn } }]);
    const one = await talk(clients[0], topic, keyed('one'));
    const other = await talk(clients[1], topic, keyed('other'));

    assert.equal(await other.channel.track({ mood: 'fine', n: 1 }), 'ok');
    const state = await one.sees('other');
    assert.deepEqual(plain(state.other), [{ mood: 'fine', n: 1 }]);
    assert.equal(one.joins[0].key, 'other');
    assert.deepEqual(plain(one.joins[0].newPresences), [{ mood: 'fine', n: 1 }]);
    await other.sees('other');

    assert.equal(await other.channel.track({ mood: 'better' }), 'ok');
    await one.until(() => one.leaves[0], 'the update');
    assert.deepEqual(plain(one.channel.presenceState().other), [{ mood: 'better' }]);
    assert.deepEqual(plain(one.leaves[0].currentPresences), [{ mood: 'better' }]);
    assert.deepEqual(plain(one.leaves[0].leftPresences), [{ mood: 'fine', n: 1 }]);

    assert.equal(await one.channel.track({}), 'ok');
    await other.sees('one', 'other');
    assert.equal(await other.channel.untrack(), 'ok');
    await one.sees('one');
    await clients[0].removeChannel(one.channel);
    await other.sees();
  });
}

test('several tabs are several presences of one key', async t => {
  const { people: [ana], topic, clients } = await scene(t);
  const watch = await talk(clients[1], topic, keyed('watch'));
  const tabs = [];
  for (let i = 0; i < 3; i++) {
    tabs.push(await talk(await connect(t, ana), topic, keyed(ana)));
    await tabs[i].channel.track({ tab: i });
  }
  const tabsSeen = wanted => watch.until(() => {
    const seen = (watch.channel.presenceState()[ana] ?? []).map(p => p.tab);
    return String(seen) === String(wanted) ? true : undefined;
  }, `tabs ${wanted}`);
  await tabsSeen([0, 1, 2]);
  await tabs[1].channel.unsubscribe();
  await tabsSeen([0, 2]);
  await tabs[0].channel.untrack();
  await tabs[2].channel.untrack();
  await watch.sees();
});

test('a quick reload is no leave', async t => {
  const { people: [ana], topic, clients } = await scene(t);
  const watch = await talk(clients[1], topic, keyed('watch'));
  let page = await connect(t, ana);
  await (await talk(page, topic, keyed(ana))).channel.track({ load: 0 });
  await watch.sees(ana);
  watch.states.length = 0;

  for (let load = 1; load <= 3; load++) {
    await page.realtime.disconnect();
    page = await connect(t, ana);
    const tab = await talk(page, topic, keyed(ana));
    await tab.channel.track({ load });
    await watch.until(() =>
      (watch.channel.presenceState()[ana] ?? []).some(p => p.load === load) || undefined,
    `load ${load}`);
  }
  assert.ok(watch.states.length > 0);
  for (const state of watch.states)
    assert.equal(state[ana]?.length, 1, 'present all the time, and once');
});

test('a connection that does not come back has left after the grace', async t => {
  const { people: [ana], topic, clients } = await scene(t);
  const watch = await talk(clients[1], topic, keyed('watch'));
  const page = await connect(t, ana);
  await (await talk(page, topic, keyed(ana))).channel.track({});
  await watch.sees(ana);
  const since = Date.now();
  await page.realtime.disconnect();
  await watch.sees();
  assert.ok(Date.now() - since >= 5000, 'not before it');
});

test('without a grace it leaves at once', async t => {
  const { people: [ana], topic, clients } = await scene(t);
  await setting(t, 'presence_grace', 0);
  const watch = await talk(clients[1], topic, keyed('watch'));
  for (let tries = 0; ; tries++) {
    const page = await connect(t, ana);
    await (await talk(page, topic, keyed(ana))).channel.track({});
    await watch.sees(ana);
    const since = Date.now();
    await page.realtime.disconnect();
    await watch.sees();
    /* The reload may take effect a little later than the first try. */
    if (Date.now() - since < 5000)
      break;
    assert.ok(tries < 3);
  }
});

test('who is removed is seen no more, and sees nobody', async t => {
  const { people: [, ben], room, topic, clients } = await scene(t, 3);
  const [ana, removed, cem] = await Promise.all(
    clients.map((client, i) => talk(client, topic, keyed(`p${i}`))));
  for (const one of [ana, removed, cem])
    assert.equal(await one.channel.track({}), 'ok');
  for (const one of [ana, removed, cem])
    await one.sees('p0', 'p1', 'p2');

  await sql(`DELETE FROM conversation_participants
    WHERE conversation_id = $1 AND profile_id = $2`, room, ben);
  await ana.sees('p0', 'p2');
  await removed.sees();
  assert.equal(await removed.channel.track({ again: 1 }), 'error');
  await cem.channel.untrack();
  await ana.sees('p0');

  await sql(`INSERT INTO conversation_participants (conversation_id, profile_id)
    VALUES ($1, $2)`, room, ben);
  await removed.sees('p0');
  assert.ok(removed.states.every(state => !('p2' in state) || 'p1' in state),
    'in between nothing was told');
  assert.equal(await removed.channel.track({ again: 2 }), 'ok');
  await ana.sees('p0', 'p1');
});

test('strangers are refused, and told why', async t => {
  const { topic } = await scene(t);
  for (const profile of [await person('Eve'), null]) {
    const eve = new Talker(await connect(t, profile), topic, keyed('eve')).join();
    const { error } = await eve.status('CHANNEL_ERROR');
    assert.match(String(error), /Unauthorized: You do not have permissions to read/);
  }
});

test('nobody can be present as somebody else', async t => {
  const { people: [ana, ben], topic, clients } = await scene(t);
  const eve = new Talker(clients[0], topic, keyed(ben)).join();
  const { error } = await eve.status('CHANNEL_ERROR');
  assert.match(String(error), /presence key that is a uuid must be your own/);
  await clients[0].removeChannel(eve.channel);

  const mine = await talk(clients[0], topic, keyed(ana));
  assert.equal(await mine.channel.track({}), 'ok');
  const bot = await talk(await connect(t, null, { key: serviceKey }), topic, keyed(ben));
  assert.equal(await bot.channel.track({}), 'ok', 'services may');
  await mine.sees(ana, ben);
});

test('without a key, one is made', async t => {
  const { topic, clients } = await scene(t);
  const one = await talk(clients[0], topic, { presence: {} });
  const other = await talk(clients[1], topic, { presence: {} });
  await one.channel.track({ who: 1 });
  await other.channel.track({ who: 2 });
  const keys = await one.until(() => {
    const found = Object.keys(one.channel.presenceState());
    return found.length === 2 ? found : undefined;
  }, 'two keys');
  for (const key of keys)
    assert.match(key, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test('too many calls are refused by a reply, and the channel goes on', async t => {
  const { topic, clients } = await scene(t);
  const one = await talk(clients[0], topic, keyed('one'));
  const answers = [];
  for (let i = 0; i < 15; i++)
    answers.push(await one.channel.track({ i }));
  assert.ok(answers.filter(answer => answer === 'ok').length >= 10);
  assert.equal(answers[14], 'error');
  const last = answers.lastIndexOf('ok');
  await one.until(() => one.channel.presenceState().one?.[0].i === last || undefined,
    'the last that was taken');
  assert.deepEqual(one.statuses.map(s => s.status), ['SUBSCRIBED']);
});
