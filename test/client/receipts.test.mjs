/*
 * Ticks: what a sender with an unmodified client hears of what becomes of a
 * message.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { as, connect, listen, one, person, send } from './harness.mjs';

/* A conversation of two. */
async function pair(ana, ben) {
  const { id } = await as(ana, async query => (await query(
    `SELECT (c).id FROM (SELECT openhr_msg.create_conversation($1::uuid[]) AS c) AS made`,
    [ben]))[0]);
  return id;
}

for (const vsn of ['1.0.0', '2.0.0']) {
  test(`sent, delivered, read; protocol ${vsn}`, async t => {
    const options = { realtime: { vsn } };
    const [ana, ben] = [await person('Ana'), await person('Ben')];
    const talk = await pair(ana, ben);
    const filter = `conversation_id=eq.${talk}`;
    const sender = await listen(await connect(t, ana, options), `room:${talk}`,
      { event: '*', table: 'messages', filter });
    const marks = await listen(await connect(t, ana, options), `marks:${talk}`,
      { event: 'UPDATE', table: 'conversation_participants', filter });
    const ticks = id => sender.events.filter(e => e.new.id === id && e.eventType === 'UPDATE');

    /* ben is away. */
    const first = await send(ana, talk, 'first');
    await sender.content('first');

    const reader = await listen(await connect(t, ben, options), `room:${talk}`,
      { event: 'INSERT', table: 'messages', filter });
    const second = await send(ana, talk, 'second');
    await reader.content('second');
    const delivered = await sender.event(e => e.new.id === second.id && e.new.delivered_at);
    assert.equal(delivered.new.read_at, null);
    assert.ok(delivered.new.version > second.version);
    assert.equal(delivered.new.updated_at, null);
    assert.equal(delivered.new.content, 'second');
    await marks.event(e => e.new.profile_id === ben && e.new.last_delivered_seq === second.seq);
    assert.deepEqual(ticks(first.id), [], 'what was not sent to anybody has not arrived');

    await as(ben, query => query('SELECT openhr_msg.mark_read($1)', talk));
    const read = await sender.event(e => e.new.id === second.id && e.new.read_at);
    assert.equal(read.new.delivered_at, delivered.new.delivered_at);
    const both = await sender.event(e => e.new.id === first.id && e.new.read_at);
    assert.equal(both.new.delivered_at, both.new.read_at);
    assert.ok(both.new.version < read.new.version);
    await marks.event(e => e.new.profile_id === ben && e.new.last_read_seq === second.seq);

    /* The answer says that what came before it was read. */
    const third = await send(ana, talk, 'third');
    await send(ben, talk, 'fourth');
    await sender.event(e => e.new.id === third.id && e.new.read_at);
    const { version, ticked } = await one(
      `SELECT last_version AS version, (SELECT max(version) FROM messages
       WHERE conversation_id = $1) AS ticked FROM conversations WHERE id = $1`, talk);
    assert.equal(version, ticked);
  });
}
