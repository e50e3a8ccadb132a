-- What the tests after this one build on: the extension in this database.
SET client_min_messages = error;
CREATE EXTENSION openhr_msg;
SELECT extname FROM pg_extension WHERE extname = 'openhr_msg';
