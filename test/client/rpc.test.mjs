/* supabase.rpc() and plain fetch(): the HTTP API as web pages call it. */
import test from 'node:test';
import assert from 'node:assert/strict';
import { createClient } from '@supabase/supabase-js';
import { anonKey, connect, conversation, Listener, one, person, serviceKey, tokenOf, url } from './harness.mjs';

const ana = await person('Ana');
const ben = await person('Ben');
const eve = await person('Eve');
const room = await conversation(ana, ben);

/* As a page would: one URL for everything, and the person's token. */
const clientOf = profile => createClient(url, anonKey,
  { accessToken: async () => (profile ? tokenOf(profile) : anonKey) });

test('rpc() sends, and the message arrives by the same client', async t => {
  const client = await connect(t, ben);
  const listener = await new Listener(client, `room:${room}`,
    { event: 'INSERT', table: 'messages', filter: `conversation_id=eq.${room}` }).joined();
  const { data, error, status } = await client.rpc('send_message',
    { conversation_id: room, content: 'by rpc', metadata: { nested: [1, null, 'ü'] } });
  assert.equal(error, null);
  assert.equal(status, 200);
  assert.equal(data.content, 'by rpc');
  assert.equal(data.sender_profile_id, ben);
  assert.deepEqual(data.metadata, { nested: [1, null, 'ü'] });
  const event = await listener.content('by rpc');
  assert.equal(event.new.id, data.id);
});

test('rpc() returns sets, rows, scalars', async () => {
  const client = clientOf(ana);
  const list = await client.rpc('list_messages', { conversation_id: room, max: 10 });
  assert.equal(list.error, null);
  assert.ok(Array.isArray(list.data));
  assert.equal(list.data[0].content, 'by rpc');
  const got = await client.rpc('list_messages', { conversation_id: room, max: 10 }, { get: true });
  assert.deepEqual(got.data, list.data);
  const single = await client.rpc('list_messages', { conversation_id: room, max: 1 }).single();
  assert.equal(single.data.id, list.data[0].id);
  const created = await client.rpc('create_conversation', { participants: [ben, eve], type: 'group', title: 'three' });
  assert.equal(created.data.title, 'three');
  const removed = await client.rpc('remove_participant', { conversation_id: created.data.id, profile_id: eve });
  assert.equal(removed.data, true);
});

test('rpc() tells errors as PostgREST does', async () => {
  const stranger = await clientOf(eve).rpc('send_message', { conversation_id: room, content: 'x' });
  assert.equal(stranger.status, 403);
  assert.deepEqual(stranger.error && { ...stranger.error },
    { code: '42501', details: null, hint: null, message: 'not a participant of the conversation' });
  const unknown = await clientOf(ana).rpc('no_such_function', { a: 1 });
  assert.equal(unknown.status, 404);
  assert.equal(unknown.error.code, 'PGRST202');
  const anonymous = await clientOf(null).rpc('list_conversations');
  assert.equal(anonymous.status, 401);
  assert.equal(anonymous.error.code, '42501');
  const wrong = await clientOf(ana).rpc('mark_read', { conversation_id: 'x' });
  assert.equal(wrong.status, 400);
  assert.equal(wrong.error.code, '22P02');
  await assert.rejects(async () => {
    await clientOf(eve).rpc('list_messages', { conversation_id: room }).throwOnError();
  }, { code: '42501' });
});

test('a service sees all', async () => {
  const service = createClient(url, serviceKey);
  const { data, error } = await service.rpc('get_conversation', { conversation_id: room });
  assert.equal(error, null);
  assert.equal(data.id, room);
  assert.equal(data.role, null);
});

test('the document\'s endpoints by fetch', async () => {
  const call = (who, method, path, body, headers = {}) => fetch(url + path, {
    method,
    headers: { authorization: `Bearer ${tokenOf(who)}`, 'content-type': 'application/json', ...headers },
    body: body && JSON.stringify(body),
  });
  const sent = await call(ana, 'POST', `/v1/conversations/${room}/messages`,
    { content: 'by fetch', content_type: 'text' }, { 'idempotency-key': 'fetch-1' });
  assert.equal(sent.status, 201);
  const message = await sent.json();
  assert.equal(sent.headers.get('etag'), `"${message.version}"`);
  assert.equal((await one('SELECT content FROM messages WHERE id = $1', message.id)).content, 'by fetch');
  const refused = await call(eve, 'POST', `/v1/conversations/${room}/messages`, { content: 'x' });
  assert.equal(refused.status, 403);
  assert.deepEqual(await refused.json(), { error: 'Not a participant' });
  const page = await call(ben, 'GET', `/v1/conversations/${room}/messages?limit=50&before=${new Date(Date.now() + 60000).toISOString()}`);
  assert.equal(page.status, 200);
  assert.equal((await page.json())[0].content, 'by fetch');
  const many = await Promise.all(Array.from({ length: 50 }, (_, n) =>
    call(ana, 'POST', `/v1/conversations/${room}/messages`, { content: `many ${n}` })));
  assert.ok(many.every(answer => answer.status === 201));
  const seqs = (await Promise.all(many.map(answer => answer.json()))).map(row => row.seq);
  assert.equal(new Set(seqs).size, 50);
});
