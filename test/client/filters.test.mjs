/*
 * Every operator of a filter.  One set of messages is sent for all of them;
 * what a filter lets through is compared with what a SELECT with the same
 * condition finds.
 */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { postgresChangesFilter } from '@supabase/supabase-js';
import { as, connect, conversation, listen, Listener, one, person, send, sql }
  from './harness.mjs';

const texts = ['alpha', 'Beta', 'gamma, with a comma', 'delta (parentheses)',
  'a "quoted" word', 'back\\slash', '100% sure', 'under_score', ' leading blank',
  'a.b=c', 'Ünïcode 世界', ''.padEnd(300, 'x')];

/* [the filter, the same as SQL on "messages m"] */
const cases = [
  ['content=eq.alpha', `content = 'alpha'`],
  ['content=eq.ALPHA', `content = 'ALPHA'`],
  ['content=neq.alpha', `content <> 'alpha'`],
  ['content=eq."gamma, with a comma"', `content = 'gamma, with a comma'`],
  ['content=eq."a \\"quoted\\" word"', `content = 'a "quoted" word'`],
  ['content=eq."back\\\\slash"', `content = 'back\\slash'`],
  ['content=eq.a.b=c', `content = 'a.b=c'`],
  ['content=eq.Ünïcode 世界', `content = 'Ünïcode 世界'`],
  ['seq=eq.3', 'seq = 3'],
  ['seq=neq.3', 'seq <> 3'],
  ['seq=lt.3', 'seq < 3'],
  ['seq=lte.3', 'seq <= 3'],
  ['seq=gt.9', 'seq > 9'],
  ['seq=gte.9', 'seq >= 9'],
  ['seq=gt.4,seq=lt.7', 'seq > 4 AND seq < 7'],
  ['seq=in.(1,5,99)', 'seq IN (1, 5, 99)'],
  ['seq=not.in.(1,5,99)', 'seq NOT IN (1, 5, 99)'],
  ['content=in.(alpha,"gamma, with a comma","delta (parentheses)")',
    `content IN ('alpha', 'gamma, with a comma', 'delta (parentheses)')`],
  ['content=like.%a', `content LIKE '%a'`],
  ['content=like.100\\%%', `content LIKE '100\\%%'`],
  ['content=like._eta', `content LIKE '_eta'`],
  ['content=ilike.B%', `content ILIKE 'B%'`],
  ['content=ilike.%Ü%', `content ILIKE '%Ü%'`],
  ['content=not.like.%a%', `content NOT LIKE '%a%'`],
  ['content=match.^[ab]', `content ~ '^[ab]'`],
  ['content=imatch.^B', `content ~* '^B'`],
  ['content=not.match.a', `NOT content ~ 'a'`],
  ['metadata=is.null', 'metadata IS NULL'],
  ['metadata=not.is.null', 'metadata IS NOT NULL'],
  ['is_edited=is.false', 'is_edited IS FALSE'],
  ['is_edited=is.true', 'is_edited IS TRUE'],
  ['is_deleted=is.unknown', 'is_deleted IS UNKNOWN'],
  ['is_deleted=eq.false', 'is_deleted = false'],
  ['reply_to_message_id=isdistinct.00000000-0000-0000-0000-000000000000',
    `reply_to_message_id IS DISTINCT FROM '00000000-0000-0000-0000-000000000000'`],
  ['content_type=isdistinct.text', `content_type IS DISTINCT FROM 'text'`],
  ['read_at=eq.2025-01-01T00:00:00Z', `read_at = '2025-01-01T00:00:00Z'`],
  ['created_at=gt.2025-01-01T00:00:00.000Z', `created_at > '2025-01-01T00:00:00.000Z'`],
  ['created_at=lt.2025-01-01T00:00:00.000Z', `created_at < '2025-01-01T00:00:00.000Z'`],
  [postgresChangesFilter().eq('content', 'a "quoted" word'), `content = 'a "quoted" word'`],
  [postgresChangesFilter().in('content', ['alpha', 'gamma, with a comma', ' leading blank']),
    `content IN ('alpha', 'gamma, with a comma', ' leading blank')`],
  [postgresChangesFilter().gte('seq', 2).lte('seq', 8).not('metadata', 'is', null),
    'seq BETWEEN 2 AND 8 AND metadata IS NOT NULL'],
  [postgresChangesFilter().match('content', '^(alpha|Beta)$'), `content ~ '^(alpha|Beta)$'`],
  [postgresChangesFilter().ilike('content', '%WITH A COMMA'), `content ILIKE '%WITH A COMMA'`],
  [postgresChangesFilter().isDistinct('content', 'alpha'), `content IS DISTINCT FROM 'alpha'`],
  [postgresChangesFilter().neq('content', 'back\\slash'), `content <> 'back\\slash'`],
];

describe('filters', () => {
  let ana, ben;

  before(async () => {
    [ana, ben] = [await person('Ana'), await person('Ben')];
  });

  test('each lets through what SQL finds', async t => {
    const talk = await conversation(ana, ben);
    const client = await connect(t, ana);
    const listeners = [];
    for (const [index, [filter]] of cases.entries())
      listeners.push(await listen(client, `filter:${index}`,
        { event: 'INSERT', table: 'messages', filter }));
    const all = await listen(client, 'all', { event: 'INSERT', table: 'messages' });

    for (const [index, text] of texts.entries())
      await send(ben, talk, text, { metadata: index % 2 ? { index } : null });
    await send(ben, talk, 'the end');
    await all.content('the end');

    for (const [index, [filter, condition]] of cases.entries()) {
      await t.test(String(filter), async () => {
        const rows = await sql(`SELECT content FROM messages
          WHERE conversation_id = $1 AND (${condition}) ORDER BY seq`, talk);
        assert.deepEqual(listeners[index].contents(), rows.map(row => row.content));
      });
    }
  });

  test('more than fits one channel: several conditions side by side', async t => {
    const talk = await conversation(ana, ben);
    const client = await connect(t, ana);
    const all = await listen(client, `room:${talk}`,
      { event: 'INSERT', table: 'messages', filter: 'content=eq.one' },
      { event: 'INSERT', table: 'messages', filter: 'content=eq.two' },
      { event: 'INSERT', table: 'messages', filter: `conversation_id=eq.${talk}` });
    for (const text of ['one', 'two', 'three'])
      await send(ben, talk, text);
    await all.content('three');
    assert.deepEqual(all.events.map(e => [e.binding, e.new.content]).sort(),
      [[0, 'one'], [1, 'two'], [2, 'one'], [2, 'three'], [2, 'two']]);
  });

  test('an UPDATE is judged by the new row', async t => {
    const talk = await conversation(ana, ben);
    const client = await connect(t, ana);
    const edited = await listen(client, `room:${talk}`,
      { event: 'UPDATE', table: 'messages', filter: 'content=like.good%' });
    const sent = await send(ben, talk, 'bad');
    for (const text of ['good 1', 'bad again', 'good 2'])
      await as(ben, query => query('SELECT openhr_msg.edit_message($1, $2)', sent.id, text));
    await edited.content('good 2');
    assert.deepEqual(edited.contents(), ['good 1', 'good 2']);
  });

  test('a DELETE is judged by the old row\'s identity', async t => {
    const talk = await conversation(ana, ben);
    const other = await conversation(ana, ben);
    const client = await connect(t, ana);
    const deleted = await listen(client, `room:${talk}`,
      { event: 'DELETE', table: 'messages', filter: `conversation_id=eq.${talk}` });
    const [first, second, third] = [await send(ben, talk, '1'), await send(ben, other, '2'),
      await send(ben, talk, '3')];
    for (const { id } of [first, second, third])
      await sql('DELETE FROM messages WHERE id = $1', id);
    await deleted.event(e => e.old.id === third.id);
    assert.deepEqual(deleted.events.map(e => e.old.id), [first.id, third.id]);
  });

  const faults = [
    ['an unknown column', { filter: 'nonsense=eq.1' }, /invalid column for filter nonsense/],
    ['an unknown operator', { filter: 'content=foo.1' }, /Error parsing `filter` params/],
    ['a filter that is none', { filter: 'nonsense' }, /Error parsing `filter` params/],
    ['a number that is none', { filter: 'seq=eq.abc' }, /invalid input syntax for type bigint/],
    ['a uuid that is none', { filter: 'conversation_id=eq.42' }, /invalid input syntax for type uuid/],
    ['in without parentheses', { filter: 'seq=in.1,2' }, /parenthes|Error parsing/],
    ['in with too many values',
      { filter: `seq=in.(${Array.from({ length: 101 }, (_, i) => i)})` }, /too many values/],
    ['like on a number', { filter: 'seq=like.1%' }, /requires a text-compatible column type/],
    ['a broken regular expression', { filter: 'content=match.(' }, /invalid regular expression/],
    ['is with another word', { filter: 'content=is.maybe' }, /invalid value for is filter/],
    ['is true on a text', { filter: 'content=is.true' }, /requires a boolean column/],
    ['an unknown selected column', { select: ['id', 'nonsense'] }, /invalid column for select nonsense/],
    ['an unknown table', { table: 'nonsense' }, /Unable to subscribe to changes/],
  ];

  for (const [what, params, expected] of faults) {
    test(`${what} is told, and the rest of the channel works`, async t => {
      const talk = await conversation(ana, ben);
      const client = await connect(t, ana);
      const faulty = new Listener(client, 'faulty',
        { event: 'INSERT', table: 'messages', ...params }).join();
      const told = await faulty.until(() => faulty.system.find(s => s.status === 'error'),
        'an error message');
      assert.equal(told.extension, 'postgres_changes');
      assert.equal(told.channel, 'faulty');
      assert.match(told.message, expected);

      const healthy = await listen(client, `room:${talk}`, { event: 'INSERT', table: 'messages' });
      await send(ben, talk, 'still here');
      await healthy.content('still here');
      assert.deepEqual(faulty.events, []);
    });
  }

  test('the rows are those that a SELECT as the same person shows', async t => {
    const [eva, max] = [await person('Eva'), await person('Max')];
    const mine = await conversation(ana, ben);
    const theirs = await conversation(eva, max);
    const client = await connect(t, ana);
    const all = await listen(client, 'all',
      { event: 'INSERT', table: 'messages', filter: 'content=like.equality%' });
    for (let i = 0; i < 10; i++)
      await Promise.all([send(ben, mine, `equality ${i}`), send(max, theirs, `equality not ${i}`)]);
    await send(ben, mine, 'equality, the end');
    await all.content('equality, the end');
    const rows = await as(ana, query => query(
      `SELECT id FROM messages WHERE content LIKE 'equality%'`));
    assert.deepEqual(all.events.map(e => e.new.id).sort(), rows.map(row => row.id).sort());
    const { count } = await one('SELECT count(*) FROM messages WHERE conversation_id IN ($1, $2)',
      mine, theirs);
    assert.equal(count, 21);
  });
});
