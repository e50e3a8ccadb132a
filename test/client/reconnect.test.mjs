/*
 * Subscriptions that come, break and come back: a promise of SUBSCRIBED is
 * kept to the letter, and what breaks is repaired without anybody's help.
 *
 * Runs alone: it ends the processes that the others use.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import net from 'node:net';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { as, connect, conversation, listen, Listener, one, person, send, sql, url }
  from './harness.mjs';

const inserts = { event: 'INSERT', table: 'messages' };

async function scene(t, options) {
  const [ana, ben] = [await person('Ana'), await person('Ben')];
  const talk = await conversation(ana, ben);
  return { ana, ben, talk, client: await connect(t, ana, options) };
}

/* Ends a worker; the postmaster starts it again. */
async function terminate(kind) {
  const workers = await sql(
    `SELECT pid FROM pg_stat_activity WHERE backend_type ~ $1`, `^openhr_msg ${kind}`);
  assert.ok(workers.length > 0, `there is no ${kind}`);
  for (const { pid } of workers)
    await one('SELECT pg_terminate_backend($1, 10000)', pid);
}

/* A network between client and gateway that can be cut. */
async function network(t) {
  const target = new URL(url);
  const sockets = new Set();
  let whole = true;
  const server = net.createServer(socket => {
    if (!whole)
      return socket.destroy();
    const peer = net.connect(target.port, target.hostname);
    for (const [one, other] of [[socket, peer], [peer, socket]]) {
      sockets.add(one);
      one.on('error', () => {});
      one.on('close', () => { sockets.delete(one); other.destroy(); });
      one.pipe(other);
    }
  });
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  t.after(() => { sockets.forEach(s => s.destroy()); server.close(); });
  return {
    base: `http://127.0.0.1:${server.address().port}`,
    cut() { whole = false; sockets.forEach(s => s.destroy()); },
    mend() { whole = true; },
  };
}

test('a row committed right after SUBSCRIBED always arrives', async t => {
  const { ben, talk, client } = await scene(t);
  for (let i = 0; i < 60; i++) {
    const all = await listen(client, `room:${talk}:${i}`,
      { ...inserts, filter: `conversation_id=eq.${talk}` });
    await send(ben, talk, `after join ${i}`);
    await all.content(`after join ${i}`);
    assert.equal(all.contents()[0], `after join ${i}`);
    await client.removeChannel(all.channel);
  }
});

test('the same on a first connection each time', async t => {
  const { ana, ben, talk } = await scene(t);
  for (let i = 0; i < 15; i++) {
    const all = await listen(await connect(t, ana), `room:${talk}`, inserts);
    await send(ben, talk, `first ${i}`);
    await all.content(`first ${i}`);
  }
});

test('joins during a stream of messages lose none and repeat none', async t => {
  const { ana, ben, talk } = await scene(t);
  let running = true;
  const sending = (async () => {
    for (let i = 1; running; i++)
      await send(ben, talk, `stream ${i}`);
    return send(ben, talk, 'the end');
  })();
  const listeners = [];
  for (let i = 0; i < 12; i++)
    listeners.push(await listen(await connect(t, ana), `room:${talk}`, inserts));
  running = false;
  const last = await sending;
  for (const listener of listeners) {
    await listener.content('the end');
    const seqs = listener.events.map(e => e.new.seq);
    assert.deepEqual(seqs, Array.from({ length: seqs.length },
      (_, i) => last.seq - seqs.length + 1 + i));
  }
});

test('the gateway is terminated: rejoined, and alive', async t => {
  const { ben, talk, client } = await scene(t);
  const all = await listen(client, `room:${talk}`, inserts);
  await send(ben, talk, 'before');
  await all.content('before');

  const past = all.statuses.length;
  await terminate('gateway');
  await all.status('CHANNEL_ERROR', past);
  await all.status('SUBSCRIBED', past, 60);
  await send(ben, talk, 'after');
  await all.content('after');
  assert.deepEqual(all.contents(), ['before', 'after']);
});

test('the streamer is terminated: nothing is lost, nothing comes twice', async t => {
  const { ben, talk, client } = await scene(t);
  const all = await listen(client, `room:${talk}`, inserts);
  await send(ben, talk, 'before');
  await all.content('before');

  const past = all.statuses.length;
  await terminate('streamer');
  for (let i = 1; i <= 5; i++)
    await send(ben, talk, `meanwhile ${i}`);
  /* Either the subscription stands and the messages come, or it was said to
   * be broken and a new one stands; silence is not among the answers. */
  await all.until(() => all.contents().includes('meanwhile 5')
    || all.statuses.slice(past).some(s => s.status === 'SUBSCRIBED') || undefined,
  'the messages, or a new subscription', 60);
  await send(ben, talk, 'after');
  await all.content('after');
  const broken = all.statuses.slice(past).length > 0;
  const contents = all.contents();
  assert.equal(new Set(contents).size, contents.length);
  if (!broken)
    assert.deepEqual(contents, ['before', ...[1, 2, 3, 4, 5].map(i => `meanwhile ${i}`), 'after']);
});

test('an executor is terminated: joins go on', async t => {
  const [eva, ben] = [await person('Eva'), await person('Ben')];
  await terminate('executor');
  const hers = await conversation(eva, ben);
  const all = new Listener(await connect(t, eva), `room:${hers}`, inserts).join();
  await all.status('SUBSCRIBED', 0, 60);
  await send(ben, hers, 'hello');
  await all.content('hello');
});

test('the network is cut and comes back', async t => {
  const wire = await network(t);
  const { ben, talk, client } = await scene(t, { base: wire.base });
  const rooms = [await listen(client, `room:${talk}`, inserts),
    await listen(client, 'everything', inserts)];
  const past = rooms.map(room => room.statuses.length);

  wire.cut();
  await Promise.all(rooms.map((room, i) => room.status('CHANNEL_ERROR', past[i])));
  await send(ben, talk, 'into the void');
  wire.mend();
  await Promise.all(rooms.map((room, i) => room.status('SUBSCRIBED', past[i], 60)));

  await send(ben, talk, 'back again');
  for (const room of rooms) {
    await room.content('back again');
    assert.deepEqual(room.contents(), ['back again']);
  }
});

test('a token that was set before the cut holds after it', async t => {
  const wire = await network(t);
  const { ben, talk, client } = await scene(t, { base: wire.base });
  const all = await listen(client, `room:${talk}`, inserts);
  for (let round = 1; round <= 2; round++) {
    const past = all.statuses.length;
    wire.cut();
    await all.status('CHANNEL_ERROR', past);
    wire.mend();
    await all.status('SUBSCRIBED', past, 60);
    await send(ben, talk, `round ${round}`);
    await all.content(`round ${round}`);
  }
  assert.deepEqual(all.contents(), ['round 1', 'round 2']);
});

/* Until a pong has told that a message is on the reader's machine. */
async function arrived(reader, message) {
  for (let i = 0; i < 100; i++) {
    const { last_delivered_seq: seq } = await one(`SELECT last_delivered_seq FROM conversation_participants
      WHERE profile_id = $1 AND conversation_id = $2`, reader, message.conversation_id);
    if (Number(seq) >= Number(message.seq))
      return;
    await setTimeout(100);
  }
  assert.fail('no receipt came');
}

const named = () => ({ realtime: { params: { client_id: randomUUID() } } });

test('a client with a name gets what it missed, before anything new, and once', async t => {
  const wire = await network(t);
  const { ana, ben, talk, client } = await scene(t, { base: wire.base, ...named() });
  const all = await listen(client, `room:${talk}`,
    { event: '*', table: 'messages', filter: `conversation_id=eq.${talk}` });
  const first = await send(ben, talk, 'before');
  await all.content('before');
  await arrived(ana, first);

  for (let round = 1; round <= 2; round++) {
    const past = all.statuses.length;
    wire.cut();
    await all.status('CHANNEL_ERROR', past);
    for (let i = 1; i <= 3; i++)
      await send(ben, talk, `missed ${round}.${i}`);
    wire.mend();
    await all.status('SUBSCRIBED', past, 60);
    const last = await send(ben, talk, `new ${round}`);
    await all.content(`new ${round}`);
    await arrived(ana, last);
  }
  assert.deepEqual(all.contents(), ['before',
    'missed 1.1', 'missed 1.2', 'missed 1.3', 'new 1',
    'missed 2.1', 'missed 2.2', 'missed 2.3', 'new 2']);
  assert.ok(all.events.every(e => e.eventType === 'INSERT'));
});

test('edited and deleted while it was away', async t => {
  const wire = await network(t);
  const { ana, ben, talk, client } = await scene(t, { base: wire.base, ...named() });
  const all = await listen(client, 'everything', { event: '*', table: 'messages' });
  const messages = [];
  for (const content of ['edited', 'deleted', 'as it was'])
    messages.push(await send(ben, talk, content));
  await arrived(ana, messages[2]);

  const past = all.statuses.length;
  wire.cut();
  await all.status('CHANNEL_ERROR', past);
  await as(ben, query => query('SELECT openhr_msg.edit_message($1, $2)', messages[0].id, 'other words'));
  await as(ben, query => query('SELECT openhr_msg.delete_message($1)', messages[1].id));
  wire.mend();
  await all.status('SUBSCRIBED', past, 60);
  await send(ben, talk, 'the end');
  await all.content('the end');
  assert.deepEqual(all.events.slice(3).map(e => [e.eventType, e.new.content, e.new.is_deleted]), [
    ['UPDATE', 'other words', false], ['UPDATE', '', true], ['INSERT', 'the end', false]]);
});

test('the gateway is terminated: a client with a name misses nothing', async t => {
  const { ana, ben, talk, client } = await scene(t, named());
  const all = await listen(client, `room:${talk}`, inserts);
  await arrived(ana, await send(ben, talk, 'before'));

  const past = all.statuses.length;
  await terminate('gateway');
  await send(ben, talk, 'meanwhile');
  await all.status('SUBSCRIBED', past, 60);
  await send(ben, talk, 'after');
  await all.content('after');
  assert.deepEqual(all.contents().slice(-2), ['meanwhile', 'after']);
  assert.ok(all.contents().every(content => ['before', 'meanwhile', 'after'].includes(content)));
});
