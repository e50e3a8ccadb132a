/*
 * Who gets what: a member, a stranger, nobody, a service; tokens that are bad,
 * expire or change; people who come and go while they are connected.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { as, authorize, connect, conversation, flush, listen, Listener, one, person, send,
  serviceKey, sql, token, tokenOf } from './harness.mjs';

const inserts = { event: 'INSERT', table: 'messages' };
const now = () => Math.floor(Date.now() / 1000);

/* Tokens are accepted for 30 seconds after they have expired, so this one
 * ceases to be in that many seconds from now. */
const dyingIn = seconds => ({ exp: now() - 30 + seconds });

async function trio() {
  return [await person('Ana'), await person('Ben'), await person('Eva')];
}

test('a member, a stranger, nobody and a service', async t => {
  const [ana, ben, eva] = await trio();
  const [talk, hers] = [await conversation(ana, ben), await conversation(eva)];
  const clients = {
    member: await connect(t, ana),
    memberByKey: await connect(t, null, { key: tokenOf(ana) }),
    stranger: await connect(t, eva),
    anonymous: await connect(t, null),
    noProfile: await connect(t, null, { key: token({ role: 'authenticated' }) }),
    service: await connect(t, null, { key: serviceKey }),
  };
  const got = {};
  for (const [name, client] of Object.entries(clients))
    got[name] = await listen(client, `room:${talk}`,
      { event: '*', table: 'messages' },
      { event: '*', table: 'conversations', filter: `id=eq.${talk}` },
      { event: '*', table: 'conversation_participants', filter: `conversation_id=eq.${talk}` });

  const sent = await send(ben, talk, 'for members');
  await as(ben, query => query('SELECT openhr_msg.edit_message($1, $2)', sent.id, 'edited'));
  await as(ana, query => query('SELECT openhr_msg.mark_read($1, $2)', talk, sent.seq));
  await sql('DELETE FROM messages WHERE id = $1', sent.id);
  await send(eva, hers, 'for Eva alone');

  await got.stranger.content('for Eva alone');
  await got.service.content('for Eva alone');
  await Promise.all(Object.values(clients).map(flush));

  const seen = name => got[name].events.map(e => `${e.eventType} ${e.table}`);
  for (const name of ['member', 'memberByKey', 'service']) {
    for (const what of ['INSERT messages', 'UPDATE messages', 'DELETE messages',
      'UPDATE conversations', 'UPDATE conversation_participants'])
      assert.ok(seen(name).includes(what), `${name} lacks ${what}`);
  }
  assert.deepEqual(got.member.contents(), got.memberByKey.contents());
  assert.ok(!got.member.contents().includes('for Eva alone'));
  assert.deepEqual(got.stranger.contents(), ['for Eva alone']);
  assert.deepEqual(got.anonymous.events, []);
  assert.deepEqual(got.noProfile.events, []);
});

test('nothing after removal, everything before it', async t => {
  const [ana, ben, eva] = await trio();
  const [talk, other] = [await conversation(ana, ben, eva), await conversation(ana, ben)];
  const client = await connect(t, ben);
  const all = await listen(client, `room:${talk}`, inserts,
    { event: 'DELETE', table: 'conversation_participants' });

  for (let i = 1; i <= 20; i++)
    await send(eva, talk, `before ${i}`);
  await as(ana, query => query('SELECT openhr_msg.remove_participant($1, $2)', talk, ben));
  for (let i = 1; i <= 20; i++)
    await send(eva, talk, `after ${i}`);
  await send(ana, other, 'the other conversation');

  await all.content('the other conversation');
  const messages = all.events.filter(e => e.table === 'messages');
  assert.deepEqual(messages.map(e => e.new.content),
    [...Array.from({ length: 20 }, (_, i) => `before ${i + 1}`), 'the other conversation']);
  const left = all.events.filter(e => e.table === 'conversation_participants');
  assert.deepEqual(left.map(e => e.old.profile_id), [ben]);
});

test('someone who is added hears from then on', async t => {
  const [ana, ben, eva] = await trio();
  const talk = await conversation(ana, ben);
  const all = await listen(await connect(t, eva), `room:${talk}`, inserts);
  await send(ben, talk, 'without Eva');
  await as(ana, query => query('SELECT openhr_msg.add_participant($1, $2)', talk, eva));
  await send(ben, talk, 'hello Eva');
  await all.content('hello Eva');
  assert.deepEqual(all.contents(), ['hello Eva']);
});

test('added and written to in one transaction', async t => {
  const [ana, ben, eva] = await trio();
  const talk = await conversation(ana, ben);
  const all = await listen(await connect(t, eva), `room:${talk}`, inserts);
  await as(ana, async query => {
    await query('SELECT openhr_msg.send_message($1, $2)', talk, 'we add Eva');
    await query('SELECT openhr_msg.add_participant($1, $2)', talk, eva);
    await query('SELECT openhr_msg.send_message($1, $2)', talk, 'welcome');
  });
  await all.content('welcome');
  assert.deepEqual(all.contents(), ['we add Eva', 'welcome']);
});

test('random comings and goings: what arrived is what members may see', async t => {
  const people = [...await trio(), await person('Max')];
  const [ana, ...rest] = people;
  const talks = [await conversation(...people), await conversation(ana, rest[0])];
  const finale = await conversation(...people);
  const members = new Map(talks.map((talk, i) =>
    [talk, new Set(i ? [ana, rest[0]] : people)]));
  const got = new Map();
  const expected = new Map(people.map(p => [p, []]));
  for (const p of people)
    got.set(p, await listen(await connect(t, p), 'everything', inserts));

  /* A fixed sequence that looks like chance. */
  let state = 20251130;
  const pick = list => list[(state = (state * 48271) % 2147483647) % list.length];

  for (let i = 0; i < 150; i++) {
    const talk = pick(talks);
    const present = members.get(talk);
    const someone = pick(rest);
    switch (pick(['send', 'send', 'send', 'change'])) {
      case 'send':
        await send(pick([...present]), talk, `message ${i}`);
        present.forEach(p => expected.get(p).push(`message ${i}`));
        break;
      case 'change': {
        const joins = !present.has(someone);
        await as(ana, query => query(
          `SELECT openhr_msg.${joins ? 'add' : 'remove'}_participant($1, $2)`, talk, someone));
        if (joins)
          present.add(someone);
        else
          present.delete(someone);
      }
    }
  }
  await send(ana, finale, 'the end');
  for (const p of people) {
    await got.get(p).content('the end');
    assert.deepEqual(got.get(p).contents(), [...expected.get(p), 'the end']);
  }

  /* And a SELECT shows each the messages of just those conversations. */
  for (const p of people) {
    const rows = await as(p, query => query(
      'SELECT DISTINCT conversation_id AS id FROM messages ORDER BY 1'));
    const mine = [finale, ...talks.filter(talk => members.get(talk).has(p))].sort();
    assert.deepEqual(rows.map(row => row.id), mine);
  }
});

test('a row that arrives can be read at once', async t => {
  const [ana, ben] = await trio();
  const talk = await conversation(ana, ben);
  const all = await listen(await connect(t, ana), `room:${talk}`, inserts);
  const readings = [];
  for (let i = 0; i < 20; i++) {
    const text = `row ${i}`;
    const arrived = all.content(text).then(e => one(
      'SELECT content FROM messages WHERE id = $1', e.new.id));
    readings.push(arrived);
    await send(ben, talk, text);
  }
  for (const [i, row] of (await Promise.all(readings)).entries())
    assert.equal(row?.content, `row ${i}`);
});

/* ---- tokens ---------------------------------------------------------- */

const badTokens = [
  ['expired', p => tokenOf(p, { exp: now() - 3600 }), /Token has expired \d+ seconds ago/],
  ['signed by somebody else', p => token({ sub: p, role: 'authenticated' }, 'x'.repeat(32)),
    /JwtSignatureError: Failed to validate JWT signature/],
  ['without a role', p => tokenOf(p, { role: undefined }), /Fields `role` and `exp` are required/],
  ['without an end', p => tokenOf(p, { exp: undefined }), /Fields `role` and `exp` are required/],
];

for (const [what, make, expected] of badTokens) {
  test(`a join with a token ${what} is refused, and says why`, async t => {
    const [ana, ben] = await trio();
    const talk = await conversation(ana, ben);
    const client = await connect(t, null);
    await authorize(client, make(ana));
    const refused = new Listener(client, `room:${talk}`, inserts).join();
    const { error } = await refused.status('CHANNEL_ERROR');
    assert.match(error.message, expected);

    await send(ben, talk, 'not for you');
    await flush(client);
    assert.deepEqual(refused.events, []);
  });
}

test('after a refusal the client comes back with a better token', async t => {
  const [ana, ben] = await trio();
  const talk = await conversation(ana, ben);
  const client = await connect(t, null);
  await authorize(client, tokenOf(ana, { exp: now() - 3600 }));
  const all = new Listener(client, `room:${talk}`, inserts).join();
  await all.status('CHANNEL_ERROR');
  await authorize(client, tokenOf(ana));
  await all.status('SUBSCRIBED');
  await send(ben, talk, 'welcome back');
  await all.content('welcome back');
});

test('an expired token ends its channel; a refreshed one goes on', async t => {
  const [ana, ben] = await trio();
  const talk = await conversation(ana, ben);
  const [careless, careful] = [await connect(t, null), await connect(t, null)];
  const dying = tokenOf(ana, dyingIn(4));
  await authorize(careless, dying);
  await authorize(careful, dying);
  const ends = await listen(careless, `room:${talk}`, inserts);
  const stays = await listen(careful, `room:${talk}`, inserts);

  await authorize(careful, tokenOf(ana));
  await ends.status('CLOSED');
  const warned = ends.system.find(s => s.extension === 'system');
  assert.equal(warned.status, 'ok');
  assert.match(warned.message, /^Token expires in \d+ seconds$/);
  const told = ends.system.find(s => s.status === 'error');
  assert.match(told.message, /^Token has expired/);
  assert.equal(told.extension, 'system');

  await send(ben, talk, 'who is still here?');
  await stays.content('who is still here?');
  await flush(careless);
  assert.deepEqual(ends.events, []);
  assert.deepEqual(stays.statuses.map(s => s.status), ['SUBSCRIBED']);
});

test('a token of somebody else changes whose events arrive', async t => {
  const [ana, ben, eva] = await trio();
  const [talk, hers] = [await conversation(ana, ben), await conversation(eva, ben)];
  const client = await connect(t, ana);
  const all = await listen(client, 'everything', inserts);
  await send(ben, talk, 'to Ana');
  await all.content('to Ana');

  const greetings = all.system.length;
  await authorize(client, tokenOf(eva));
  await all.until(() => all.system.slice(greetings).find(s => s.status === 'ok'),
    'the new subscription');
  await send(ben, talk, 'to Ana again');
  await send(ben, hers, 'to Eva');
  await all.content('to Eva');
  assert.deepEqual(all.contents(), ['to Ana', 'to Eva']);
});

test('a token that gives more power comes without a gap', async t => {
  const [ana, ben, eva] = await trio();
  const [talk, hers] = [await conversation(ana, ben), await conversation(eva, ben)];
  const client = await connect(t, ana);
  const all = new Listener(client, `room:${talk}`, inserts);
  const [syncs, leaves] = [[], []];
  all.channel.on('presence', { event: 'sync' }, () => all.note(syncs, 'sync'));
  all.channel.on('presence', { event: 'leave' }, ({ key }) => all.note(leaves, key));
  await all.joined();
  assert.equal(await all.channel.track({ at: 'work' }), 'ok');
  await all.until(() => Object.keys(all.channel.presenceState())[0], 'her presence');

  const texts = Array.from({ length: 30 }, (_, i) => `message ${i}`);
  for (const [i, text] of texts.entries()) {
    if (i === 10)
      await authorize(client, tokenOf(ana, { role: 'service_role' }));
    await send(ben, talk, text);
  }
  await send(ben, hers, 'to Eva');
  await all.content('to Eva');
  assert.deepEqual(all.contents(), [...texts, 'to Eva']);
  assert.deepEqual(all.statuses.map(s => s.status), ['SUBSCRIBED']);
  assert.equal(Object.keys(all.channel.presenceState()).length, 1);
  assert.deepEqual(leaves, []);
});

test('a revoked token ends its channels, a new one works at once', async t => {
  const [ana, ben] = await trio();
  const talk = await conversation(ana, ben);
  const client = await connect(t, null);
  const [old, other] = [tokenOf(ana, { iat: now() - 10 }), await connect(t, ben)];
  await authorize(client, old);
  const hers = await listen(client, `room:${talk}`, inserts);
  const his = await listen(other, `room:${talk}`, inserts);
  await send(ben, talk, 'before');
  await hers.content('before');

  const [{ second }] = await sql(
    'SELECT floor(extract(epoch FROM openhr_msg.revoke_tokens($1)))::int AS second', ana);
  await send(ben, talk, 'after');
  await his.content('after');
  await hers.status('CLOSED');
  assert.deepEqual(hers.contents(), ['before']);
  assert.equal(hers.system.find(s => s.status === 'error').message, 'Token has been revoked');

  await client.removeChannel(hers.channel);
  const refused = new Listener(client, `room:${talk}`, inserts).join();
  const { error } = await refused.status('CHANNEL_ERROR');
  assert.match(error.message, /Token has been revoked/);
  await client.removeChannel(refused.channel);

  await authorize(client, tokenOf(ana, { iat: second + 1 }));
  const again = await listen(client, `room:${talk}`, inserts);
  await send(ben, talk, 'welcome back');
  await again.content('welcome back');
  assert.deepEqual(again.contents(), ['welcome back']);
});

test('a broken token while connected ends the channel', async t => {
  const [ana, ben] = await trio();
  const talk = await conversation(ana, ben);
  const client = await connect(t, ana);
  const all = await listen(client, `room:${talk}`, inserts);
  await authorize(client, token({ sub: ana, role: 'authenticated' }, 'x'.repeat(32)));
  await all.status('CLOSED');
  await send(ben, talk, 'not for you');
  await flush(client);
  assert.deepEqual(all.events, []);
});

test('a topic that carries a conversation is for its members', async t => {
  const [ana, ben, eva] = await trio();
  const talk = await conversation(ana, ben);
  const client = await connect(t, eva);
  const stranger = await listen(client, `room:${talk}`, inserts);
  await send(ben, talk, 'for members');
  const member = await listen(await connect(t, ana), `room:${talk}`, inserts);
  await send(ben, talk, 'for members too');
  await member.content('for members too');
  await flush(client);
  assert.deepEqual(stranger.events, []);
});

test('without a key there is no connection', async t => {
  const client = await connect(t, null, { key: 'no-token-at-all' });
  const refused = new Listener(client, 'room', inserts).join();
  await refused.status('CHANNEL_ERROR');
  assert.ok(!refused.statuses.some(s => s.status === 'SUBSCRIBED'));
});
