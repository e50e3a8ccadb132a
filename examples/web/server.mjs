/*
 * Web server of the example chat: one origin for the page, for its calls and
 * for its WebSocket, so that createClient() needs one URL.
 *
 *	 GET /...                      the page's files
 *	 GET /config.json              who may be chosen, with ready-made tokens
 *	 POST /rest/v1/rpc/FUNCTION    openhr_msg.FUNCTION, for supabase.rpc()
 *	 WebSocket /realtime/v1/...    passed through to the gateway
 *
 * A caller is who the token says: openhr_msg.authenticate() verifies it, and
 * the call runs in the same transaction as the role "authenticated".  This
 * program trusts nothing, decides nothing and holds no secret.
 *
 * Settings come from the environment: PORT, GATEWAY_PORT, CONFIG (a file),
 * and libpq's variables for the database.
 */
import fs from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';

const port = Number(process.env.PORT ?? 4001);
const gatewayPort = Number(process.env.GATEWAY_PORT ?? 4000);
const root = path.dirname(fileURLToPath(import.meta.url));
const pool = new pg.Pool({ max: 8 });
pool.on('error', error => console.error(`database: ${error.message}`));

/* What the page may call, and whether it returns one row or several. */
const functions = {
  list_conversations: 'several',
  get_conversation: 'one',
  list_messages: 'several',
  list_changes: 'several',
  send_message: 'one',
  edit_message: 'one',
  delete_message: 'one',
  mark_read: 'one',
};

const files = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/style.css': ['style.css', 'text/css; charset=utf-8'],
  '/app.js': ['app.js', 'text/javascript; charset=utf-8'],
  '/chat.js': ['chat.js', 'text/javascript; charset=utf-8'],
  '/view.js': ['view.js', 'text/javascript; charset=utf-8'],
  '/vendor/supabase.js': ['vendor/supabase.js', 'text/javascript; charset=utf-8'],
};

function reply(response, status, body, type = 'application/json') {
  response.writeHead(status, {
    'content-type': type,
    'cache-control': 'no-cache',
    'content-security-policy': "default-src 'self'; connect-src 'self' ws: wss:; img-src data:",
    'x-content-type-options': 'nosniff',
  });
  response.end(body);
}

async function readBody(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > 65536)
      throw Object.assign(new Error('request too large'), { status: 413 });
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString() || '{}');
}

/* The HTTP status of an error, as PostgREST chooses it. */
function statusOf(error) {
  const code = error.code ?? '';
  if (error.status)
    return error.status;
  if (error instanceof SyntaxError)
    return 400;
  if (code.startsWith('PT'))
    return Number(code.slice(2)) || 500;
  const byCode = { 42501: 403, 42883: 404, P0002: 404, 23505: 409, 40001: 409 };
  const byClass = { 22: 400, 23: 400, 28: 401, P0: 400 };
  return byCode[code] ?? byClass[code.slice(0, 2)] ?? 500;
}

/* One call in one transaction, as the person of the token. */
async function call(name, parameters, token) {
  const names = Object.keys(parameters);
  if (!names.every(n => /^[a-z_]+$/.test(n)))
    throw Object.assign(new Error('bad parameter name'), { status: 400 });
  const list = names.map((n, i) => `${n} => $${i + 1}`).join(', ');
  const result = functions[name] === 'one' ? 'to_jsonb(r)' : `coalesce(jsonb_agg(r), '[]')`;
  const values = names.map(n =>
    (parameters[n] !== null && typeof parameters[n] === 'object')
      ? JSON.stringify(parameters[n]) : parameters[n]);

  const connection = await pool.connect();
  try {
    await connection.query('BEGIN; SET LOCAL ROLE authenticated');
    await connection.query('SELECT openhr_msg.authenticate($1)', [token]);
    const { rows } = await connection.query(
      `SELECT ${result}::text AS result FROM openhr_msg.${name}(${list}) AS r`, values);
    await connection.query('COMMIT');
    return rows[0]?.result ?? 'null';
  } catch (error) {
    await connection.query('ROLLBACK').catch(() => {});
    throw error;
  } finally {
    connection.release();
  }
}

async function handle(request, response) {
  const { pathname } = new URL(request.url, 'http://localhost');
  const rpc = pathname.match(/^\/rest\/v1\/rpc\/(\w+)$/);

  if (rpc && request.method === 'POST' && Object.hasOwn(functions, rpc[1])) {
    const token = request.headers.authorization?.replace(/^Bearer /i, '') ?? '';
    return reply(response, 200, await call(rpc[1], await readBody(request), token));
  }
  if (request.method === 'GET' && pathname === '/config.json')
    return reply(response, 200, await fs.readFile(process.env.CONFIG));
  if (request.method === 'GET' && Object.hasOwn(files, pathname)) {
    const [name, type] = files[pathname];
    return reply(response, 200, await fs.readFile(path.join(root, name)), type);
  }
  return reply(response, 404, '{"message":"not found"}');
}

const server = http.createServer((request, response) => {
  handle(request, response).catch(error => {
    const { code, message, detail = null, hint = null } = error;
    reply(response, statusOf(error), JSON.stringify({ code, message, details: detail, hint }));
  });
});

/* The handshake and everything after it goes to the gateway as it came. */
server.on('upgrade', (request, socket, head) => {
  if (!request.url.startsWith('/realtime/v1/'))
    return socket.destroy();
  const gateway = net.connect(gatewayPort, '127.0.0.1', () => {
    gateway.write(`${request.method} ${request.url} HTTP/1.1\r\n`);
    for (let i = 0; i < request.rawHeaders.length; i += 2)
      gateway.write(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}\r\n`);
    gateway.write('\r\n');
    gateway.write(head);
    socket.pipe(gateway).pipe(socket);
  });
  for (const [end, other] of [[socket, gateway], [gateway, socket]]) {
    end.setNoDelay(true);
    end.on('error', () => other.destroy());
    end.on('close', () => other.destroy());
  }
});

server.listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${port}/`));
