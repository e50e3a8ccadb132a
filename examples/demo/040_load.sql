-- Put the history into the tables, then change what was changed later.
--
-- A row that gives its seq is taken as it is.  An id carries the time of its
-- message, and so decides in which month the message is; no two of these
-- messages are of the same time.

CREATE TABLE demo_ids AS
SELECT m.*, row_number() OVER (PARTITION BY m.conversation ORDER BY m.ago DESC) AS seq,
	now() - m.ago AS at, openhr_msg.uuid_v7_floor(now() - m.ago) AS id
FROM demo_messages m;

INSERT INTO messages (id, conversation_id, sender_profile_id, content, content_type,
	created_at, seq, version, reply_to_message_id, metadata)
SELECT m.id, c.id, p.profile_id, m.content, m.type, m.at, m.seq, m.seq, a.id,
	CASE m.type WHEN 'suggested' THEN '{"source": "message_suggestion_agent"}'::jsonb END
FROM demo_ids m
	JOIN demo_conversations c ON c.name = m.conversation
	LEFT JOIN demo_people p ON p.handle = m.sender
	LEFT JOIN demo_ids a ON a.key = m.answers
ORDER BY m.conversation, m.seq;

-- The months so far are in the default partition; give each its own.
SELECT openhr_msg.create_partitions();

-- Two second thoughts and one thing that nobody should have seen.
SELECT openhr_msg.edit_message(id, 'Yes, by Tuesday evening.')
FROM demo_ids WHERE key = 'wednesday';
SELECT openhr_msg.edit_message(id, 'The forecast job now needs 4 minutes instead of 50, with the same result.')
FROM demo_ids WHERE key = 'minutes';
SELECT openhr_msg.delete_message(id)
FROM demo_ids WHERE key = 'bank';

-- Everybody has read everything but the messages of the last four hours.
UPDATE conversation_participants p
SET last_read_seq = coalesce(r.seq, 0), last_read_at = r.at
FROM (
	SELECT p.id, max(m.seq) AS seq, max(m.created_at) AS at
	FROM conversation_participants p
		LEFT JOIN messages m ON m.conversation_id = p.conversation_id
			AND (m.created_at < now() - interval '4 hours'
				OR m.sender_profile_id = p.profile_id)
	GROUP BY p.id) r
WHERE r.id = p.id;

UPDATE conversations c
SET updated_at = (SELECT max(created_at) FROM messages WHERE conversation_id = c.id);

DROP TABLE demo_ids, demo_messages;
ANALYZE;
