/*
 * Broadcasts from the database that were before the join: broadcast.replay.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { as, connect, conversation, person, serviceKey, sql } from './harness.mjs';
import { setting, talk, Talker } from './talker.mjs';

async function scene() {
  const [ana, ben] = [await person('Ana'), await person('Ben')];
  const room = await conversation(ana, ben);
  return { ana, ben, room, topic: `room:${room}` };
}

const notify = async (profile, topic, event, payload = {}) =>
  (await as(profile, query => query('SELECT openhr_msg.broadcast($1, $2, $3) AS id',
    topic, event, payload)))[0].id;

const since = (time, limit) => ({ private: true,
  broadcast: { replay: { since: time, ...limit && { limit } } } });
const events = talker => talker.heard.map(message => message.event);
const hour = 3600_000;

test('what was broadcast before comes again, marked, and then what comes', async t => {
  const { ana, ben, topic } = await scene();
  const payload = { text: 'Grüße "🙂"', deep: [null, { a: 1.5 }] };
  const first = await notify(ana, topic, 'first "1"', payload);
  const second = await notify(ben, topic, 'second');
  await notify(ana, `other:${topic.slice(5)}`, 'elsewhere');
  for (const vsn of ['1.0.0', '2.0.0']) {
    const client = await connect(t, ben, { realtime: { vsn } });
    const one = await talk(client, topic, since(Date.now() - hour));
    await one.hears('second');
    const third = await notify(ana, topic, `third in ${vsn}`);
    await one.hears(`third in ${vsn}`);
    assert.deepEqual(one.heard.filter(message => vsn === '1.0.0' || !message.event.includes('1.0.0')), [
      { type: 'broadcast', event: 'first "1"', payload, meta: { id: first, replayed: true } },
      { type: 'broadcast', event: 'second', payload: {}, meta: { id: second, replayed: true } },
      { type: 'broadcast', event: `third in ${vsn}`, payload: {}, meta: { id: third } },
    ]);
  }
});

test('since when, and how many', async t => {
  const { ana, topic } = await scene();
  for (let i = 1; i <= 30; i++)
    await notify(ana, topic, `e${i}`);
  await sql(`UPDATE openhr_msg.broadcasts SET id = overlay(id::text placing
      left(openhr_msg.uuid_v7_floor(now() - interval '2 hours' +
        right(event, 1)::int * interval '1 minute')::text, 13) from 1 for 13)::uuid
    WHERE topic = $1 AND event IN ('e28', 'e29')`, topic);
  const heard = async (...options) => {
    const one = await talk(await connect(t, ana), topic, since(...options));
    await notify(ana, topic, 'end');
    await one.hears('end');
    await sql(`DELETE FROM openhr_msg.broadcasts WHERE event = 'end'`);
    return events(one).slice(0, -1);
  };
  const names = (from, to) => [...Array(to - from + 1).keys()].map(i => `e${from + i}`);

  assert.deepEqual(await heard(Date.now() - hour), [...names(4, 27), 'e30'], 'the latest 25');
  assert.deepEqual(await heard(Date.now() - hour, 3), ['e26', 'e27', 'e30'], 'fewer');
  assert.deepEqual(await heard(Date.now() - hour, 1000), [...names(4, 27), 'e30'], 'never more');
  assert.deepEqual(await heard(Date.now() + hour), [], 'none is so young');
  await sql(`DELETE FROM openhr_msg.broadcasts WHERE topic = $1 AND event NOT IN ('e28', 'e29', 'e30')`, topic);
  assert.deepEqual(await heard(Date.now() - hour), ['e30'], 'what is older does not come');
  assert.deepEqual(await heard(0), ['e28', 'e29', 'e30'], 'unless it is asked for');
});

test('nothing is lost and nothing comes twice while others speak', async t => {
  const { ana, ben, topic } = await scene();
  let speaking = true;
  let n = 0;
  const speaker = (async () => {
    while (speaking)
      await notify(ana, topic, `e${++n}`);
  })();
  for (let round = 0; round < 20; round++) {
    const client = await connect(t, ben);
    const one = await talk(client, topic, since(Date.now() - 20));
    const before = n;
    await one.hears(`e${before + 2}`);
    const numbers = events(one).map(event => Number(event.slice(1)));
    assert.deepEqual(numbers, numbers.map((_, i) => numbers[0] + i), 'one after the other');
    await client.removeAllChannels();
  }
  speaking = false;
  await speaker;
});

test('only for members, and in private channels', async t => {
  const { ana, topic } = await scene();
  await notify(ana, topic, 'secret');
  const eve = new Talker(await connect(t, await person('Eve')), topic, since(0)).join();
  assert.match(String((await eve.status('CHANNEL_ERROR')).error), /Unauthorized/);
  assert.deepEqual(events(eve), []);

  const service = await talk(await connect(t, null, { key: serviceKey }), topic, since(0));
  await service.hears('secret');

  await setting(t, 'public_channels', 'on');
  await sql(`SELECT openhr_msg.broadcast('lobby', 'open')`);
  const lobby = await talk(await connect(t, null, { key: serviceKey }), 'lobby', since(0));
  await lobby.hears('open');
});

test('what is no replay is refused', async t => {
  const { ana, topic } = await scene();
  for (const [replay, reason] of [
    [{ since: 'yesterday' }, /Replay params are not valid/],
    [{ limit: 5 }, /Replay params are not valid/],
    [{ since: 0, limit: 'all' }, /Replay params are not valid/],
  ]) {
    const client = await connect(t, ana);
    const one = new Talker(client, topic, { private: true, broadcast: { replay } }).join();
    assert.match(String((await one.status('CHANNEL_ERROR')).error), reason);
    await client.removeAllChannels();
  }
  const client = await connect(t, ana);
  assert.throws(() => new Talker(client, topic, { broadcast: { replay: { since: 0 } } }),
    /private channel/, 'supabase-js does not even ask for a public one');
});
