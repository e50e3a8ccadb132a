/*
 * INSERT, UPDATE and DELETE on the three tables, in both versions of the
 * protocol: what is in an event, and that a channel gets what it asked for.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { as, connect, conversation, listen, one, person, send, sql } from './harness.mjs';

const isoTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

/* A row as SELECT shows it, in the form in which an event has it. */
async function stored(table, id) {
  return (await one(`SELECT to_jsonb(t) AS row FROM ${table} t WHERE id = $1`, id)).row;
}

for (const vsn of ['1.0.0', '2.0.0']) {
  describe(`protocol ${vsn}`, () => {
    const options = { realtime: { vsn } };

    async function scene(t) {
      const [ana, ben] = [await person('Ana'), await person('Ben')];
      const talk = await conversation(ana, ben);
      return { ana, ben, talk, client: await connect(t, ana, options) };
    }

    test('a message: insert, edit, delete, and the row itself', async t => {
      const { ben, talk, client } = await scene(t);
      const all = await listen(client, `room:${talk}`,
        { event: '*', table: 'messages', filter: `conversation_id=eq.${talk}` });

      const sent = await send(ben, talk, 'Grüße, 世界 "quoted" \\ 🙂\n',
        { metadata: { nested: [1, { deep: null }], text: 'ü' } });
      const insert = await all.event(e => e.eventType === 'INSERT');
      assert.deepEqual(insert.new, await stored('messages', sent.id));
      assert.deepEqual(insert.old, {});
      assert.equal(insert.schema, 'public');
      assert.equal(insert.table, 'messages');
      assert.equal(insert.errors, null);
      assert.match(insert.commit_timestamp, isoTime);

      await as(ben, query => query('SELECT openhr_msg.edit_message($1, $2)', sent.id, 'edited'));
      const edit = await all.event(e => e.eventType === 'UPDATE');
      assert.deepEqual(edit.new, await stored('messages', sent.id));
      assert.equal(edit.new.is_edited, true);
      assert.equal(edit.old.id, sent.id);

      await as(ben, query => query('SELECT openhr_msg.delete_message($1)', sent.id));
      const tombstone = await all.event(e => e.new.is_deleted === true);
      assert.deepEqual(tombstone.new, await stored('messages', sent.id));
      assert.equal(tombstone.new.content, '');

      await sql('DELETE FROM messages WHERE id = $1', sent.id);
      const gone = await all.event(e => e.eventType === 'DELETE');
      assert.deepEqual(gone.new, {});
      assert.equal(gone.old.id, sent.id);
      assert.equal(gone.old.conversation_id, talk);

      assert.deepEqual(all.events.map(e => e.eventType),
        ['INSERT', 'UPDATE', 'UPDATE', 'DELETE']);
    });

    test('a long message arrives whole, and unchanged by an update of the rest', async t => {
      const { ben, talk, client } = await scene(t);
      const all = await listen(client, `room:${talk}`, { event: '*', table: 'messages' });
      /* Random text does not compress, so the row is stored out of line. */
      const { text } = await one(
        `SELECT string_agg(md5(random()::text), '') AS text FROM generate_series(1, 250)`);
      const sent = await send(ben, talk, text);
      assert.equal((await all.content(text)).new.id, sent.id);

      await sql(`UPDATE messages SET read_at = now() WHERE id = $1`, sent.id);
      const update = await all.event(e => e.eventType === 'UPDATE');
      assert.notEqual(update.new.read_at, null);
      assert.ok(!('content' in update.new) || update.new.content === text,
        'an unchanged body is left out or whole, never something else');
    });

    test('a conversation: title, archive, end', async t => {
      const { ana, talk, client } = await scene(t);
      const all = await listen(client, `room:${talk}`,
        { event: 'UPDATE', table: 'conversations', filter: `id=eq.${talk}` },
        { event: 'DELETE', table: 'conversations' });

      await sql(`UPDATE conversations SET title = 'New title' WHERE id = $1`, talk);
      const titled = await all.event(e => e.new.title === 'New title');
      assert.deepEqual(titled.new, await stored('conversations', talk));

      await as(ana, query => query('SELECT openhr_msg.archive_conversation($1, true)', talk));
      const archived = await all.event(e => e.new.is_archived === true);
      assert.deepEqual(archived.new, await stored('conversations', talk));

      await sql('DELETE FROM conversations WHERE id = $1', talk);
      const gone = await all.event(e => e.eventType === 'DELETE');
      assert.equal(gone.old.id, talk);
      assert.equal(gone.binding, 1);
    });

    test('a new conversation is told to who is in it', async t => {
      const { ana, ben, client } = await scene(t);
      const all = await listen(client, 'inbox',
        { event: 'INSERT', table: 'conversations' },
        { event: 'INSERT', table: 'conversation_participants', filter: `profile_id=eq.${ana}` });

      const talk = await conversation(ben, ana);
      const insert = await all.event(e => e.table === 'conversations' && e.new.id === talk);
      assert.equal(insert.new.created_by, ben);
      const membership = await all.event(e => e.new.conversation_id === talk);
      assert.equal(membership.new.profile_id, ana);
      assert.equal(membership.new.role, 'member');
    });

    test('participants: joined, read ticks, left', async t => {
      const { ana, ben, talk, client } = await scene(t);
      const all = await listen(client, `room:${talk}`,
        { event: '*', table: 'conversation_participants', filter: `conversation_id=eq.${talk}` });
      const eva = await person('Eva');

      await as(ana, query => query('SELECT openhr_msg.add_participant($1, $2)', talk, eva));
      const joined = await all.event(e => e.eventType === 'INSERT');
      assert.deepEqual(joined.new, await stored('conversation_participants', joined.new.id));
      assert.equal(joined.new.profile_id, eva);

      const sent = await send(ana, talk, 'read this');
      await as(ben, query => query('SELECT openhr_msg.mark_read($1, $2)', talk, sent.seq));
      const read = await all.event(e => e.eventType === 'UPDATE' && e.new.profile_id === ben);
      assert.equal(read.new.last_read_seq, sent.seq);
      assert.notEqual(read.new.last_read_at, null);

      await as(ana, query => query('SELECT openhr_msg.remove_participant($1, $2)', talk, eva));
      const left = await all.event(e => e.eventType === 'DELETE');
      assert.equal(left.old.profile_id, eva);
    });

    test('select reduces an event to the named columns and the key', async t => {
      const { ben, talk, client } = await scene(t);
      const some = await listen(client, `room:${talk}`,
        { event: '*', table: 'messages', filter: `conversation_id=eq.${talk}`,
          select: ['content', 'seq'] });
      const sent = await send(ben, talk, 'few columns');
      const insert = await some.content('few columns');
      assert.deepEqual(insert.new, { id: sent.id, content: 'few columns', seq: sent.seq });
    });

    test('one transaction arrives whole, in order, with one time', async t => {
      const { ben, talk, client } = await scene(t);
      const all = await listen(client, `room:${talk}`, { event: 'INSERT', table: 'messages' });
      await as(ben, async query => {
        for (let i = 1; i <= 5; i++)
          await query('SELECT openhr_msg.send_message($1, $2)', talk, `part ${i}`);
      });
      await all.content('part 5');
      assert.deepEqual(all.contents(), [1, 2, 3, 4, 5].map(i => `part ${i}`));
      assert.deepEqual(all.events.map(e => e.new.seq), [1, 2, 3, 4, 5]);
      assert.equal(new Set(all.events.map(e => e.commit_timestamp)).size, 1);
    });

    test('what is rolled back never arrives', async t => {
      const { ben, talk, client } = await scene(t);
      const all = await listen(client, `room:${talk}`, { event: '*', table: 'messages' });
      await assert.rejects(as(ben, async query => {
        await query('SELECT openhr_msg.send_message($1, $2)', talk, 'never');
        await query('SELECT 1/0');
      }), /division by zero/);
      const sent = await send(ben, talk, 'at last');
      await all.content('at last');
      assert.deepEqual(all.contents(), ['at last']);
      assert.equal(sent.seq, 1);
    });

    test('a binding for each event, a wildcard, and tables side by side', async t => {
      const { ana, ben, talk, client } = await scene(t);
      const inserts = await listen(client, 'inserts', { event: 'INSERT', table: 'messages' });
      const updates = await listen(client, 'updates', { event: 'UPDATE', table: 'messages' });
      const schema = await listen(client, 'schema', { event: '*', table: '*' });
      const both = await listen(client, `room:${talk}`,
        { event: 'INSERT', table: 'messages', filter: `conversation_id=eq.${talk}` },
        { event: '*', table: 'messages', filter: `sender_profile_id=eq.${ben}` });

      const sent = await send(ben, talk, 'from Ben');
      await as(ben, query => query('SELECT openhr_msg.edit_message($1, $2)', sent.id, 'edited'));
      await send(ana, talk, 'from Ana');
      await Promise.all([inserts, schema, both].map(l => l.content('from Ana')));
      await updates.content('edited');

      assert.deepEqual(inserts.contents(), ['from Ben', 'from Ana']);
      assert.deepEqual(updates.contents(), ['edited']);
      assert.deepEqual(both.events.map(e => [e.binding, e.new.content]).sort(),
        [[0, 'from Ana'], [0, 'from Ben'], [1, 'edited'], [1, 'from Ben']]);
      assert.ok(schema.events.some(e => e.table === 'conversations' && e.new.last_seq === 1));
      assert.deepEqual(schema.events.filter(e => e.table === 'messages').map(e => e.new.content),
        ['from Ben', 'edited', 'from Ana']);
    });

    test('channels of one connection are apart, and leave alone', async t => {
      const { ana, ben, talk, client } = await scene(t);
      const other = await conversation(ana, ben);
      const [first, second] = await Promise.all([talk, other].map(id =>
        listen(client, `room:${id}`,
          { event: 'INSERT', table: 'messages', filter: `conversation_id=eq.${id}` })));

      await send(ben, talk, 'to the first');
      await send(ben, other, 'to the second');
      await second.content('to the second');
      await first.content('to the first');

      await client.removeChannel(first.channel);
      await first.status('CLOSED');
      await send(ben, talk, 'nobody hears');
      await send(ben, other, 'still here');
      await second.content('still here');
      assert.deepEqual(first.contents(), ['to the first']);
      assert.deepEqual(second.contents(), ['to the second', 'still here']);
    });

    test('the server says that the subscription stands', async t => {
      const { talk, client } = await scene(t);
      const all = await listen(client, `room:${talk}`, { event: '*', table: 'messages' });
      const system = await all.until(() => all.system[0], 'a system message');
      assert.deepEqual(system, { channel: `room:${talk}`, extension: 'postgres_changes',
        message: 'Subscribed to PostgreSQL', status: 'ok' });
    });
  });
}
