-- The tables of the chat, in the extension's schema.
--
-- There are no foreign keys between them, nor to profiles and matches: a
-- parallel restore loads the rows of an extension's tables in no order that a
-- foreign key could rely on.  31-references.sql does what such keys would do.
--
-- pg_dump knows an extension's table by the extension's name only, so its rows
-- are asked for by pg_extension_config_dump.

CREATE TABLE @extschema@.conversations (
	id uuid DEFAULT openhr_msg.uuid_v7()
		CONSTRAINT conversations_pkey PRIMARY KEY,
	created_by uuid,
	title text,
	type text NOT NULL DEFAULT 'one_to_one'
		CONSTRAINT conversations_type_check
		CHECK (openhr_msg.is_conversation_type(type)),
	match_id uuid,
	is_archived boolean NOT NULL DEFAULT false,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	last_seq bigint NOT NULL DEFAULT 0,
	last_version bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);		-- every send updates its conversation's row

CREATE INDEX conversations_created_by_idx
	ON @extschema@.conversations (created_by) WHERE created_by IS NOT NULL;
CREATE INDEX conversations_match_id_idx
	ON @extschema@.conversations (match_id) WHERE match_id IS NOT NULL;

COMMENT ON TABLE @extschema@.conversations IS
'conversations; who takes part stands in conversation_participants';
COMMENT ON COLUMN @extschema@.conversations.id IS
'UUIDv7';
COMMENT ON COLUMN @extschema@.conversations.created_by IS
'profile that opened it; NULL when that profile is gone, or a service did';
COMMENT ON COLUMN @extschema@.conversations.title IS
'what members call it, if anything';
COMMENT ON COLUMN @extschema@.conversations.type IS
'one_to_one, group or system';
COMMENT ON COLUMN @extschema@.conversations.match_id IS
'match that it came from; NULL when there is none, or it is gone';
COMMENT ON COLUMN @extschema@.conversations.is_archived IS
'true when it takes no more messages';
COMMENT ON COLUMN @extschema@.conversations.created_at IS
'when it was opened';
COMMENT ON COLUMN @extschema@.conversations.updated_at IS
'when it, or a message in it, last changed';
COMMENT ON COLUMN @extschema@.conversations.last_seq IS
'seq of its newest message, 0 before the first';
COMMENT ON COLUMN @extschema@.conversations.last_version IS
'version of its latest change, 0 before the first';

CREATE TABLE @extschema@.conversation_participants (
	id uuid DEFAULT openhr_msg.uuid_v7()
		CONSTRAINT conversation_participants_pkey PRIMARY KEY,
	conversation_id uuid NOT NULL,
	profile_id uuid NOT NULL,
	role text NOT NULL DEFAULT 'member'
		CONSTRAINT conversation_participants_role_check
		CHECK (openhr_msg.is_participant_role(role)),
	joined_at timestamptz NOT NULL DEFAULT now(),
	last_read_at timestamptz,
	is_muted boolean NOT NULL DEFAULT false,
	last_read_seq bigint NOT NULL DEFAULT 0,
	CONSTRAINT conversation_participants_conversation_id_profile_id_key
		UNIQUE (conversation_id, profile_id)
) WITH (fillfactor = 80);		-- every mark_read updates one

CREATE INDEX conversation_participants_profile_id_idx
	ON @extschema@.conversation_participants (profile_id, conversation_id);

-- Who was removed, and from where, is read from the WAL.
ALTER TABLE @extschema@.conversation_participants REPLICA IDENTITY FULL;

COMMENT ON TABLE @extschema@.conversation_participants IS
'who takes part in a conversation now; a removal deletes the row';
COMMENT ON COLUMN @extschema@.conversation_participants.id IS
'UUIDv7';
COMMENT ON COLUMN @extschema@.conversation_participants.conversation_id IS
'the conversation; never changes';
COMMENT ON COLUMN @extschema@.conversation_participants.profile_id IS
'the profile; never changes';
COMMENT ON COLUMN @extschema@.conversation_participants.role IS
'member, or admin, who may add and remove others';
COMMENT ON COLUMN @extschema@.conversation_participants.joined_at IS
'when the profile was added';
COMMENT ON COLUMN @extschema@.conversation_participants.last_read_at IS
'when last_read_seq last moved';
COMMENT ON COLUMN @extschema@.conversation_participants.is_muted IS
'true when an admin has muted the profile: it reads, but does not write';
COMMENT ON COLUMN @extschema@.conversation_participants.last_read_seq IS
'seq up to which the profile has read; only moves forward';

-- Neither key nor index on the parent: ATTACH PARTITION would make the
-- partition's anew, and in a restore, where the parent is made first, they
-- would collide with the dumped ones.  Each partition has its own, and the
-- ranges make ids unique over all.
CREATE TABLE @extschema@.messages (
	id uuid NOT NULL DEFAULT openhr_msg.uuid_v7(),
	conversation_id uuid NOT NULL,
	sender_profile_id uuid,
	content text NOT NULL,
	content_type text NOT NULL DEFAULT 'text'
		CONSTRAINT messages_content_type_check
		CHECK (openhr_msg.is_content_type(content_type)),
	metadata jsonb,
	created_at timestamptz NOT NULL,
	updated_at timestamptz,
	is_edited boolean NOT NULL DEFAULT false,
	is_deleted boolean NOT NULL DEFAULT false,
	reply_to_message_id uuid,
	delivered_at timestamptz,
	read_at timestamptz,
	client_message_id text,
	seq bigint NOT NULL,
	version bigint NOT NULL
) PARTITION BY RANGE (id);

COMMENT ON TABLE @extschema@.messages IS
'messages, in one partition a month (UTC) by the time in their ids';
COMMENT ON COLUMN @extschema@.messages.id IS
'UUIDv7, made by the server; its time is that of created_at';
COMMENT ON COLUMN @extschema@.messages.conversation_id IS
'the conversation; never changes';
COMMENT ON COLUMN @extschema@.messages.sender_profile_id IS
'profile that sent it; NULL when that profile is gone, or a service did';
COMMENT ON COLUMN @extschema@.messages.content IS
'the text; empty once deleted';
COMMENT ON COLUMN @extschema@.messages.content_type IS
'text, system, suggested or attachment';
COMMENT ON COLUMN @extschema@.messages.metadata IS
'what the sender''s application adds, a JSON object';
COMMENT ON COLUMN @extschema@.messages.created_at IS
'when the server took it; within a conversation in the order of seq';
COMMENT ON COLUMN @extschema@.messages.updated_at IS
'when it was last edited or deleted';
COMMENT ON COLUMN @extschema@.messages.is_edited IS
'true when content or metadata were changed after sending';
COMMENT ON COLUMN @extschema@.messages.is_deleted IS
'true when it was deleted; the row stays as a tombstone without content';
COMMENT ON COLUMN @extschema@.messages.reply_to_message_id IS
'message of the same conversation that this one answers';
COMMENT ON COLUMN @extschema@.messages.delivered_at IS
'when the first recipient''s client had it';
COMMENT ON COLUMN @extschema@.messages.read_at IS
'when the first recipient had read it';
COMMENT ON COLUMN @extschema@.messages.client_message_id IS
'key that the client gave, so that sending again stores nothing twice';
COMMENT ON COLUMN @extschema@.messages.seq IS
'place in the conversation: 1, 2, 3 ... in the order of commit';
COMMENT ON COLUMN @extschema@.messages.version IS
'the conversation''s version at the message''s latest change';

-- The safety net: takes what has no month, until the month is made.
CREATE TABLE openhr_msg.messages_default
	PARTITION OF @extschema@.messages DEFAULT;

ALTER TABLE openhr_msg.messages_default
	ADD CONSTRAINT messages_default_pkey PRIMARY KEY (id);
CREATE UNIQUE INDEX messages_default_seq_key
	ON openhr_msg.messages_default (conversation_id, seq, id);
CREATE INDEX messages_default_version_idx
	ON openhr_msg.messages_default (conversation_id, version);
CREATE INDEX messages_default_created_at_idx
	ON openhr_msg.messages_default (conversation_id, created_at DESC);
ALTER TABLE openhr_msg.messages_default
	REPLICA IDENTITY USING INDEX messages_default_seq_key;
ALTER TABLE openhr_msg.messages_default ENABLE ROW LEVEL SECURITY;
ALTER TABLE openhr_msg.messages_default FORCE ROW LEVEL SECURITY;

COMMENT ON TABLE openhr_msg.messages_default IS
'messages of no month that has a partition; moved when it gets one';

CREATE TABLE openhr_msg.client_messages (
	conversation_id uuid,
	sender_profile_id uuid,
	client_message_id text COLLATE "C",
	message_id uuid NOT NULL,
	request_hash bytea NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT client_messages_pkey
		PRIMARY KEY (conversation_id, sender_profile_id, client_message_id)
);

-- Rows come in the order of time, so this finds old ones, and costs a message
-- next to nothing.
CREATE INDEX client_messages_created_at_idx
	ON openhr_msg.client_messages USING brin (created_at)
	WITH (autosummarize = on);

COMMENT ON TABLE openhr_msg.client_messages IS
'the keys that clients gave to their messages, for as long as they may retry';
COMMENT ON COLUMN openhr_msg.client_messages.conversation_id IS
'the message''s conversation';
COMMENT ON COLUMN openhr_msg.client_messages.sender_profile_id IS
'the message''s sender';
COMMENT ON COLUMN openhr_msg.client_messages.client_message_id IS
'key that the sender''s client gave';
COMMENT ON COLUMN openhr_msg.client_messages.message_id IS
'the message that was stored under the key';
COMMENT ON COLUMN openhr_msg.client_messages.request_hash IS
'hash of what was sent, to tell a retry from another message';
COMMENT ON COLUMN openhr_msg.client_messages.created_at IS
'when the message was sent';

DO $$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY ARRAY['@extschema@.conversations',
								'@extschema@.conversation_participants',
								'openhr_msg.messages_default',
								'openhr_msg.client_messages']
	LOOP
		PERFORM pg_catalog.pg_extension_config_dump(name::regclass, '');
	END LOOP;
END
$$;
