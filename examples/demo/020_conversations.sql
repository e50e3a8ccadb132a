-- Their conversations, one-to-one out of a match or in a group.
--
-- Like the history that follows, these rows are written as a migration would
-- write them: by a role that bypasses row level security, with their times.

CREATE TABLE demo_conversations (
	name text PRIMARY KEY,
	id uuid NOT NULL,
	type text NOT NULL,
	title text,
	match_id uuid,
	started interval NOT NULL,
	people text[] NOT NULL);	-- who started it first

INSERT INTO demo_conversations VALUES
	('amara-ben', 'c0000000-0000-4000-8000-000000000001', 'one_to_one', NULL,
	 'b0000000-0000-4000-8000-000000000001', '118 days', '{amara,ben}'),
	('amara-chloe', 'c0000000-0000-4000-8000-000000000002', 'one_to_one', NULL,
	 'b0000000-0000-4000-8000-000000000002', '84 days', '{amara,chloe}'),
	('lumen', 'c0000000-0000-4000-8000-000000000003', 'group', 'Lumen founding team',
	 NULL, '61 days', '{amara,ben,chloe,dario}'),
	('ben-emi', 'c0000000-0000-4000-8000-000000000004', 'one_to_one', NULL,
	 'b0000000-0000-4000-8000-000000000003', '47 days', '{emi,ben}'),
	('dinner', 'c0000000-0000-4000-8000-000000000005', 'group', 'Founders'' dinner',
	 NULL, '20 days', '{emi,amara,chloe,farid}'),
	('dario-farid', 'c0000000-0000-4000-8000-000000000006', 'one_to_one', NULL,
	 'b0000000-0000-4000-8000-000000000004', '1 day 2 hours', '{dario,farid}');

INSERT INTO conversations (id, created_by, title, type, match_id, created_at, updated_at)
SELECT c.id, p.profile_id, c.title, c.type, c.match_id, now() - c.started, now() - c.started
FROM demo_conversations c
	JOIN demo_people p ON p.handle = c.people[1];

INSERT INTO conversation_participants (conversation_id, profile_id, role, joined_at)
SELECT c.id, p.profile_id,
	CASE WHEN c.type = 'group' AND h.place = 1 THEN 'admin' ELSE 'member' END,
	now() - c.started
FROM demo_conversations c
	CROSS JOIN LATERAL unnest(c.people) WITH ORDINALITY AS h (handle, place)
	JOIN demo_people p USING (handle)
ORDER BY c.name, h.place;
