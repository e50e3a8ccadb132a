/*
 * Broadcasts between clients: who hears what, in which form, in both versions
 * of the protocol.
 *
 * That somebody does not hear is shown by a later broadcast that is heard: the
 * gateway brings them in one order.
 *
 * Runs alone: for a while it opens channels to everybody.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { anonKey, as, connect, conversation, listen, person, send, serviceKey, sql, tokenOf, url }
  from './harness.mjs';
import { setting, talk, Talker } from './talker.mjs';

const ack = { broadcast: { ack: true } };

async function scene(t, ...options) {
  const people = [await person('Ana'), await person('Ben')];
  const [ana, ben] = people;
  const room = await conversation(ana, ben);
  const clients = await Promise.all(people.map((one, i) => connect(t, one, options[i])));
  return { ana, ben, room, topic: `room:${room}`, clients };
}

const bytes = (...list) => new Uint8Array(list).buffer;
const events = talker => talker.heard.map(message => message.event);

test('others hear it, the sender does not unless it asks', async t => {
  const { ana, topic, clients } = await scene(t);
  const one = await talk(clients[0], topic, ack);
  const other = await talk(clients[1], topic);
  const tab = await talk(await connect(t, ana), topic, { broadcast: { self: true } });
  const payload = { x: 1, text: 'Grüße "🙂"', deep: [null, { a: 1.5 }] };

  assert.equal(await one.say('cursor', payload), 'ok');
  assert.deepEqual(await other.hears('cursor'), { type: 'broadcast', event: 'cursor', payload });
  assert.deepEqual((await tab.hears('cursor')).payload, payload);
  await tab.say('mine', {});
  await tab.hears('mine');
  await one.hears('mine');
  assert.deepEqual(events(one), ['mine']);
});

test('each sender is heard in its order', async t => {
  const { topic, clients } = await scene(t);
  const one = await talk(clients[0], topic);
  const other = await talk(clients[1], topic);
  for (let i = 0; i < 50; i++)
    await one.say(`e${i}`, { i });
  await other.hears('e49');
  assert.deepEqual(other.heard.map(message => message.payload.i), [...Array(50).keys()]);
});

test('binary payloads arrive as they are', async t => {
  const { topic, clients } = await scene(t);
  const one = await talk(clients[0], topic);
  const other = await talk(clients[1], topic);
  await one.say('raw', bytes(0, 1, 255, 128));
  const { payload } = await other.hears('raw');
  assert.ok(payload instanceof ArrayBuffer);
  assert.deepEqual([...new Uint8Array(payload)], [0, 1, 255, 128]);
});

test('clients of both versions understand one another', async t => {
  const { ana, ben, topic, clients } = await scene(t,
    { realtime: { vsn: '1.0.0' } }, { realtime: { vsn: '2.0.0' } });
  const [old, young] = await Promise.all(clients.map(client => talk(client, topic, ack)));
  const old2 = await talk(await connect(t, ben, { realtime: { vsn: '1.0.0' } }), topic);
  const young2 = await talk(await connect(t, ana), topic);

  assert.equal(await old.say('from 1', { a: 'ü' }), 'ok');
  for (const listener of [young, old2, young2])
    assert.deepEqual((await listener.hears('from 1')).payload, { a: 'ü' });
  assert.equal(await young.say('from 2', { b: [1] }), 'ok');
  for (const listener of [old, old2, young2])
    assert.deepEqual((await listener.hears('from 2')).payload, { b: [1] });

  await young.say('raw', bytes(1));
  await young.say('end', {});
  await old.hears('end');
  assert.ok(!events(old).includes('raw'), 'version 1 has no binary payloads');
});

test('strangers neither hear nor speak, and are told why', async t => {
  const { topic, clients } = await scene(t);
  const one = await talk(clients[0], topic);
  const other = await talk(clients[1], topic);
  const eve = await talk(await connect(t, await person('Eve')), topic, ack);
  const anon = await talk(await connect(t, null), topic);

  assert.equal(await eve.say('evil', {}), 'error');
  await anon.say('worse', {});
  const { message } = await anon.until(() => anon.system.find(s => s.status === 'error'), 'a reason');
  assert.match(message, /^Unauthorized: /);
  await one.say('private matter', {});
  await other.hears('private matter');
  assert.equal(await eve.say('again', {}), 'error');
  assert.deepEqual(events(eve), []);
  assert.deepEqual(events(one), []);
  assert.deepEqual(events(other), ['private matter']);
});

test('services hear and speak everywhere', async t => {
  const { topic, clients } = await scene(t);
  const one = await talk(clients[0], topic);
  const bot = await talk(await connect(t, null, { key: serviceKey }), topic, ack);
  assert.equal(await bot.say('from the bot', {}), 'ok');
  await one.hears('from the bot');
  await one.say('to the bot', {});
  await bot.hears('to the bot');
});

test('a membership that ends, ends it, and one that begins, begins it', async t => {
  const { ana, ben, room, topic, clients } = await scene(t);
  const one = await talk(clients[0], topic, ack);
  const other = await talk(clients[1], topic, ack);
  const watch = await listen(await connect(t, ana), 'watch',
    { event: '*', table: 'conversation_participants' });

  await sql(`DELETE FROM conversation_participants
    WHERE conversation_id = $1 AND profile_id = $2`, room, ben);
  await watch.event(e => e.eventType === 'DELETE');
  assert.equal(await one.say('behind the door', {}), 'ok');
  assert.equal(await other.say('let me in', {}), 'error');

  await sql(`INSERT INTO conversation_participants (conversation_id, profile_id)
    VALUES ($1, $2)`, room, ben);
  await watch.event(e => e.eventType === 'INSERT' && e.new.profile_id === ben);
  assert.equal(await one.say('welcome', {}), 'ok');
  await other.hears('welcome');
  assert.deepEqual(events(other), ['welcome']);
  assert.equal(await other.say('thanks', {}), 'ok');
  await one.hears('thanks');
  assert.deepEqual(events(one), ['thanks']);
});

test('private channels are another room, and for members only', async t => {
  const { topic, clients } = await scene(t);
  const open = await talk(clients[0], topic);
  const closed = await talk(clients[1], topic, { private: true, broadcast: { self: true } });
  await open.say('in the open', {});
  await closed.say('in private', {});
  await closed.hears('in private');
  assert.deepEqual(events(open), []);
  assert.deepEqual(events(closed), ['in private']);

  const eve = new Talker(await connect(t, await person('Eve')), topic, { private: true }).join();
  const { error } = await eve.status('CHANNEL_ERROR');
  assert.match(String(error), new RegExp(
    `Unauthorized: You do not have permissions to read from this Channel topic: ${topic}`));
});

test('a conversation that has just been made may be joined in private', async t => {
  const [ana, ben] = [await person('Ana'), await person('Ben')];
  const client = await connect(t, ana);
  await listen(client, 'first', { event: '*', table: 'messages' });
  for (let i = 0; i < 20; i++) {
    const room = await conversation(ana, ben);
    const talker = await talk(client, `room:${room}`, { private: true });
    assert.deepEqual(talker.statuses.map(s => s.status), ['SUBSCRIBED']);
  }
});

test('other topics are closed, unless the setting opens them', async t => {
  const topic = `lobby of ${crypto.randomUUID()}`;
  const ana = await talk(await connect(t, await person('Ana')), topic, ack);
  const anon = await talk(await connect(t, null, { key: anonKey }), topic, ack);
  assert.equal(await ana.say('closed', {}), 'error');

  const until = async wanted => {
    let n = 0;
    while (await ana.say(`probe ${n}`, {}) !== wanted)
      assert.ok(++n < 1000);
  };
  const reset = await setting(t, 'public_channels', 'on');
  await until('ok');
  assert.equal(await anon.say('from anon', {}), 'ok');
  await ana.hears('from anon');
  assert.equal(await ana.say('to anon', {}), 'ok');
  await anon.hears('to anon');
  assert.ok(!events(anon).includes('closed'));

  const { room, clients } = await scene(t);
  const eve = await talk(clients[0], `not.${room}`, ack);
  assert.equal(await eve.say('members', {}), 'ok');
  const stranger = await talk(await connect(t, await person('Eve')), `room:${room}`, ack);
  assert.equal(await stranger.say('x', {}), 'error', 'conversations stay closed');
  await reset();
  await until('error');
});

test('too many are refused by a reply, and the channel goes on', async t => {
  const { ben, room, topic, clients } = await scene(t);
  const one = await talk(clients[0], topic, ack);
  const inserts = await listen(clients[0], `other:${room}`,
    { event: 'INSERT', table: 'messages' });
  const answers = await Promise.all(
    Array.from({ length: 150 }, (_, i) => one.say(`e${i}`, {})));
  assert.ok(answers.filter(answer => answer === 'ok').length >= 100);
  assert.ok(answers.includes('error'));
  await send(ben, room, 'and messages still come');
  await inserts.content('and messages still come');
  assert.deepEqual(one.statuses.map(s => s.status), ['SUBSCRIBED']);
});

/* From the database */

const notify = (query, topic, event, payload = {}) =>
  query('SELECT openhr_msg.broadcast($1, $2, $3) AS id', topic, event, payload);

test('a broadcast from SQL is heard in public and in private, with its id', async t => {
  const { ana, topic, clients } = await scene(t, { realtime: { vsn: '1.0.0' } });
  const open = await talk(clients[0], topic);
  const closed = await talk(clients[1], topic, { private: true });
  const payload = { text: 'Grüße "🙂"', deep: [null, { a: 1.5 }] };
  const [{ id }] = await as(ana, query => notify(query, topic, 'note "1"', payload));
  for (const listener of [open, closed])
    assert.deepEqual(await listener.hears('note "1"'),
      { type: 'broadcast', event: 'note "1"', payload, meta: { id } });
});

test('it comes in the order of its transaction, and never when that is rolled back', async t => {
  const { ana, room, topic, clients } = await scene(t);
  const eve = await talk(await connect(t, await person('Eve')), topic);
  const other = new Talker(clients[1], topic);
  other.channel.on('postgres_changes', { event: 'INSERT', schema: 'public', table: 'messages' },
    change => other.note(other.heard, { event: change.new.content }));
  await other.joined();
  await other.until(() => other.system.find(s => s.status === 'ok'), 'changes');
  const message = (query, content) =>
    query('SELECT openhr_msg.send_message($1, $2)', room, content);

  for (let i = 0; i < 10; i++)
    await as(ana, async query => {
      await notify(query, topic, `${i} first`);
      await message(query, `${i} second`);
      await notify(query, topic, `${i} third`);
      await notify(query, topic, `${i} fourth`);
      await message(query, `${i} fifth`);
    });
  await assert.rejects(as(ana, async query => {
    await notify(query, topic, 'never');
    throw new Error('rolled back');
  }), /rolled back/);
  await as(ana, async query => {
    await query('SAVEPOINT s');
    await notify(query, topic, 'nor this');
    await query('ROLLBACK TO s');
    await notify(query, topic, 'end');
  });

  await other.hears('end');
  assert.deepEqual(events(other), [...Array(10).keys()].flatMap(i =>
    ['first', 'second', 'third', 'fourth', 'fifth'].map(word => `${i} ${word}`))
    .concat('end'));
  assert.deepEqual(events(eve), [], 'a stranger hears nothing');
});

test('whoever the transaction makes a member hears it, whoever it removes does not', async t => {
  const { ben, room, topic, clients } = await scene(t);
  const [one, other] = await Promise.all(clients.map(client => talk(client, topic)));
  const cat = await person('Cat');
  const guest = await talk(await connect(t, cat), topic);
  await sql(`BEGIN; SELECT openhr_msg.broadcast('${topic}', 'in and out');
    DELETE FROM conversation_participants
      WHERE conversation_id = '${room}' AND profile_id = '${ben}';
    INSERT INTO conversation_participants (conversation_id, profile_id)
      VALUES ('${room}', '${cat}'); COMMIT`);
  await one.hears('in and out');
  await guest.hears('in and out');
  await sql(`SELECT openhr_msg.broadcast($1, 'afterwards')`, topic);
  await guest.hears('afterwards');
  assert.deepEqual(events(other), []);
});

/* Over HTTP */

test('a channel that is not joined speaks over HTTP', async t => {
  const { topic, clients } = await scene(t);
  const open = await talk(clients[1], topic);
  const closed = await talk(await connect(t, null, { key: serviceKey }), topic,
    { private: true });
  const say = (config, event, payload) => clients[0].channel(topic, { config })
    .send({ type: 'broadcast', event, payload });
  const payload = { x: 1, text: 'Grüße "🙂"' };

  assert.equal(await say({}, 'early', payload), 'ok');
  assert.deepEqual((await open.hears('early')).payload, payload);
  await clients[0].removeAllChannels();
  assert.equal(await say({ private: true }, 'in private', payload), 'ok');
  assert.deepEqual((await closed.hears('in private')).payload, payload);
  assert.deepEqual(events(open), ['early']);
  assert.deepEqual(events(closed), ['in private']);
});

test('httpSend reaches members, and says what became of it', async t => {
  const { topic, clients } = await scene(t);
  const other = await talk(clients[1], topic);
  const young = await talk(await connect(t, null, { key: serviceKey }), topic);
  const channel = clients[0].channel(topic);
  const payload = { x: 1, text: 'Grüße "🙂"' };

  assert.deepEqual(await channel.httpSend('by HTTP / 1', payload), { success: true });
  for (const listener of [other, young])
    assert.deepEqual((await listener.hears('by HTTP / 1')).payload, payload);

  const eve = (await connect(t, await person('Eve'))).channel(topic);
  const refused = await eve.httpSend('evil', {}).catch(error => ({ success: false, error }));
  assert.equal(refused.success, false);
  assert.match(String(refused.error.message ?? refused.error), /Unauthorized/);
  await channel.httpSend('end', {});
  await other.hears('end');
  assert.ok(!events(other).includes('evil'));
});

test('too many over HTTP are refused, and the client is told when to come back', async t => {
  const { ana, topic } = await scene(t);
  const post = body => fetch(`${url}/realtime/v1/api/broadcast`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${tokenOf(ana)}` },
    body: JSON.stringify(body),
  });
  const messages = n => ({ messages: Array.from({ length: n }, () => ({ topic, event: 'e', payload: {} })) });
  assert.equal((await post(messages(100))).status, 202);
  const answer = await post(messages(50));
  assert.equal(answer.status, 429);
  assert.ok(Number(answer.headers.get('retry-after')) >= 1);
  assert.deepEqual(await answer.json(), { message: 'Too many requests' });
  assert.equal((await post({ messages: [] })).status, 422);
});
