-- Six people on OpenHR, and who was matched with whom.

INSERT INTO profiles (id, display_name) VALUES
	('a0000000-0000-4000-8000-000000000001', 'Amara Okafor'),
	('a0000000-0000-4000-8000-000000000002', 'Ben Lindqvist'),
	('a0000000-0000-4000-8000-000000000003', 'Chloé Marchand'),
	('a0000000-0000-4000-8000-000000000004', 'Dario Conti'),
	('a0000000-0000-4000-8000-000000000005', 'Emi Tanaka'),
	('a0000000-0000-4000-8000-000000000006', 'Farid Haddad');

-- For the demo's own use: short names, and a line for the page.
CREATE TABLE demo_people (
	handle text PRIMARY KEY,
	profile_id uuid NOT NULL REFERENCES profiles,
	headline text NOT NULL);

INSERT INTO demo_people VALUES
	('amara', 'a0000000-0000-4000-8000-000000000001', 'Founder of Lumen, building grid software'),
	('ben', 'a0000000-0000-4000-8000-000000000002', 'Operator looking for a co-founder'),
	('chloe', 'a0000000-0000-4000-8000-000000000003', 'Founding engineer, distributed systems'),
	('dario', 'a0000000-0000-4000-8000-000000000004', 'Product designer between two companies'),
	('emi', 'a0000000-0000-4000-8000-000000000005', 'Angel investor and former CFO'),
	('farid', 'a0000000-0000-4000-8000-000000000006', 'Machine learning engineer');

INSERT INTO matches (id) VALUES
	('b0000000-0000-4000-8000-000000000001'),
	('b0000000-0000-4000-8000-000000000002'),
	('b0000000-0000-4000-8000-000000000003'),
	('b0000000-0000-4000-8000-000000000004');
