/*
 * What the tests share: tokens, a superuser's SQL, people and conversations,
 * clients, and waiting for what arrives.
 *
 * The server is the one that test/check has started; the environment says
 * where (OPENHR_MSG_URL, OPENHR_MSG_JWT_SECRET, and libpq's variables).
 *
 * Nothing here sleeps.  That an event arrives is waited for; that an event
 * does NOT arrive is shown by a later one that does: a gateway hands over the
 * events in commit order, so what has not come before the later one never
 * will.
 */
import crypto from 'node:crypto';
import { after } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import pg from 'pg';
import { createClient } from '@supabase/supabase-js';
import WebSocket from 'ws';

export const url = required('OPENHR_MSG_URL');
const secret = required('OPENHR_MSG_JWT_SECRET');

/* The document's code and plain createClient() find it where browsers do. */
globalThis.WebSocket = WebSocket;

function required(name) {
  if (!process.env[name])
    throw new Error(`${name} is not set: run test/check client`);
  return process.env[name];
}

/*
 * supabase-js leaves timers behind that wait for what has come: each
 * disconnect() has one of ten seconds.  When all tests are over, nothing that
 * is left keeps Node from ending.
 */
const timers = new Set();
globalThis.setTimeout = new Proxy(setTimeout, {
  apply(target, self, args) {
    const timer = Reflect.apply(target, self, args);
    timers.add(timer);
    return timer;
  },
});
after(() => timers.forEach(timer => timer.unref()));

/* ---- tokens ---------------------------------------------------------- */

const base64url = data => Buffer.from(data).toString('base64url');

export function token(claims, key = secret) {
  const now = Math.floor(Date.now() / 1000);
  const body = ['{"alg":"HS256","typ":"JWT"}',
    JSON.stringify({ iat: now, exp: now + 3600, ...claims })].map(base64url).join('.');
  return `${body}.${crypto.createHmac('sha256', key).update(body).digest('base64url')}`;
}

export const tokenOf = (profile, claims = {}) =>
  token({ sub: profile, role: 'authenticated', ...claims });
export const anonKey = token({ role: 'anon' });
export const serviceKey = token({ role: 'service_role' });

/* ---- the database ---------------------------------------------------- */

const pool = new pg.Pool({ max: 4 });
after(() => pool.end());

/* As the superuser; bigint as number, times as text, as JSON has them. */
pg.types.setTypeParser(20, Number);
for (const type of [1082, 1114, 1184])
  pg.types.setTypeParser(type, text => text);

export async function sql(text, ...values) {
  return (await pool.query(text, values)).rows;
}

export async function one(text, ...values) {
  return (await sql(text, ...values))[0];
}

/* In one transaction as a person, as an application would: what a client role
 * may do under row level security, and no more. */
export async function as(profile, work) {
  const connection = await pool.connect();
  try {
    await connection.query('BEGIN');
    await connection.query('SELECT openhr_msg.authenticate($1)', [tokenOf(profile)]);
    await connection.query('SET LOCAL ROLE authenticated');
    const result = await work(async (text, ...values) =>
      (await connection.query(text, values)).rows);
    await connection.query('COMMIT');
    return result;
  } catch (error) {
    await connection.query('ROLLBACK');
    throw error;
  } finally {
    /* The identity belongs to the session: never give it to the next user. */
    connection.release(true);
  }
}

export async function person(name) {
  const { id } = await one(
    `INSERT INTO profiles (id, display_name) VALUES (gen_random_uuid(), $1) RETURNING id`, name);
  return id;
}

export async function conversation(...people) {
  const { id } = await as(people[0], async query => (await query(
    `SELECT (c).id FROM (SELECT openhr_msg.create_conversation($1::uuid[], type => 'group') AS c) AS made`,
    people))[0]);
  return id;
}

/* Sends and returns the stored row. */
export function send(profile, conversationId, content, options = {}) {
  return as(profile, async query => (await query(
    `SELECT * FROM openhr_msg.send_message($1, $2, metadata => $3)`,
    conversationId, content, options.metadata ?? null))[0]);
}

/* ---- clients --------------------------------------------------------- */

/*
 * A client as an application has it: the key is everybody's, the token comes
 * from a callback.  (A token that was given to setAuth() by hand lasts until
 * the first join: then the client asks the callback, which by default knows
 * the key only.)  profile null: nobody has signed in.
 */
export async function connect(t, profile, { key = anonKey, realtime = {}, base = url } = {}) {
  const identity = { token: profile ? tokenOf(profile) : key };
  const client = createClient(base, key, {
    accessToken: async () => identity.token,
    realtime: { transport: WebSocket, ...realtime },
  });
  identities.set(client, identity);
  t.after(() => client.removeAllChannels());
  /* The client has begun to take its first token; let it finish. */
  await setImmediate();
  await client.realtime.setAuth();
  return client;
}

const identities = new WeakMap();

/* From now on the client is the one of this token. */
export async function authorize(client, itsToken) {
  identities.get(client).token = itsToken;
  await client.realtime.setAuth();
}

/* Everything that the gateway had queued for this client has been received. */
export function flush(client) {
  return new Promise(resolve => {
    client.realtime.onHeartbeat(status => status === 'ok' && resolve());
    client.realtime.sendHeartbeat();
  });
}

/*
 * A channel that keeps what arrives.  Bindings are supabase-js's own objects
 * ({event, table, filter, ...}); "schema: public" is filled in.  options are
 * those of client.channel().
 */
export class Listener {
  constructor(client, topic, ...bindings) {
    const [name, options] = [topic].flat();
    this.events = [];
    this.statuses = [];
    this.system = [];
    this.waiting = new Set();
    this.channel = client.channel(name, options);
    bindings.forEach((binding, index) =>
      this.channel.on('postgres_changes', { schema: 'public', ...binding },
        payload => this.note(this.events, { ...payload, binding: index })));
    this.channel.on('system', {}, payload => this.note(this.system, payload));
  }

  note(list, item) {
    list.push(item);
    for (const check of this.waiting)
      check();
  }

  join() {
    this.channel.subscribe((status, error) =>
      this.note(this.statuses, error ? { status, error } : { status }));
    return this;
  }

  async joined() {
    this.join();
    await this.status('SUBSCRIBED');
    return this;
  }

  /* The first result of find() that is not undefined. */
  until(find, what, seconds = 20) {
    return new Promise((resolve, reject) => {
      const done = (settle, value) => {
        clearTimeout(timer);
        this.waiting.delete(check);
        settle(value);
      };
      const check = () => {
        const found = find();
        if (found !== undefined)
          done(resolve, found);
      };
      const timer = setTimeout(() => done(reject, new Error(
        `waited in vain for ${what}; statuses ${JSON.stringify(this.statuses.map(s =>
          s.error ? [s.status, String(s.error)] : s.status))}, ${this.events.length} events`)),
      seconds * 1000);
      this.waiting.add(check);
      check();
    });
  }

  /* Wait for a status, from the given position of the history on. */
  status(wanted, from = 0, seconds) {
    return this.until(() => this.statuses.slice(from).find(s => s.status === wanted),
      `status ${wanted}`, seconds);
  }

  /* Wait for an event. */
  event(matches, what = 'an event') {
    return this.until(() => this.events.find(matches), what);
  }

  /* Wait for the message with this content. */
  content(text) {
    return this.event(e => e.new.content === text, `the message "${text.slice(0, 80)}"`);
  }

  contents() {
    return this.events.map(e => e.new.content);
  }
}

export async function listen(client, topic, ...bindings) {
  return new Listener(client, topic, ...bindings).joined();
}
