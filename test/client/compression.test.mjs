/*
 * Compression: agreed on with a client that offers it, seen by what comes and
 * goes over its socket; what arrives is the same with and without.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import WebSocket from 'ws';
import { anonKey, connect, conversation, listen, person, send, url } from './harness.mjs';
import { setting, talk } from './talker.mjs';

/* The client's socket, with or without an offer; the last one is kept. */
const sockets = offered => class extends WebSocket {
  static last;
  constructor(address, protocols) {
    super(address, protocols, { perMessageDeflate: offered });
    this.constructor.last = this;
  }
};

async function clientOf(t, profile, offered) {
  const transport = sockets(offered);
  const client = await connect(t, profile, { realtime: { transport } });
  return { client, socket: () => transport.last };
}

const words = n => Array.from({ length: n }, (_, i) => `word${i % 100} "Grüße"`).join(' ');

test('large messages arrive compressed, and are the same', async t => {
  const people = [await person('Ana'), await person('Ben')];
  const room = await conversation(...people);
  const packed = await clientOf(t, people[0], true);
  const plain = await clientOf(t, people[1], false);
  const readers = [];
  for (const { client } of [packed, plain])
    readers.push(await listen(client, 'changes', { event: '*', table: 'messages' }));
  const before = [packed, plain].map(c => c.socket()._socket.bytesRead);
  const contents = Array.from({ length: 20 }, (_, i) => `${i} ${words(50 + 10 * i)}`);

  for (const content of contents)
    await send(people[0], room, content);
  for (const reader of readers)
    await reader.content(contents.at(-1));
  assert.deepEqual(readers[0].contents(), contents);
  assert.deepEqual(readers[1].contents(), contents);

  const read = [packed, plain].map((c, i) => c.socket()._socket.bytesRead - before[i]);
  assert.equal(packed.socket().extensions, 'permessage-deflate');
  assert.equal(plain.socket().extensions, '');
  assert.ok(read[0] < read[1] / 3, `${read[0]} bytes instead of ${read[1]}`);
});

test('what a client compresses is understood', async t => {
  const people = [await person('Ana'), await person('Ben')];
  const topic = `room:${await conversation(...people)}`;
  const packed = await clientOf(t, people[0], { threshold: 0 });
  const one = await talk(packed.client, topic, { broadcast: { ack: true } });
  const other = await talk(await connect(t, people[1]), topic);
  const payload = { text: words(400) };

  assert.equal(await one.say('large', payload), 'ok');
  assert.deepEqual((await other.hears('large')).payload, payload);
  assert.ok(packed.socket()._socket.bytesWritten < payload.text.length / 2);
});

/* What a new connection agrees on. */
async function agreed() {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/realtime/v1/websocket?apikey=${anonKey}`);
  await once(socket, 'open');
  socket.terminate();
  return socket.extensions;
}

test('it can be switched off, and on', async t => {
  assert.equal(await agreed(), 'permessage-deflate');
  const reset = await setting(t, 'compression', 'off');
  while (await agreed() !== '')
    ;
  await reset();
  while (await agreed() === '')
    ;
});
