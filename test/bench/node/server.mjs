/*
 * server.mjs PORT
 *
 * The usual way to do it, to be measured against: Node with ws, fed by a
 * replication slot with wal2json.  It knows as much of the protocol as the
 * load tool speaks, and nothing of who may see what.
 *
 * The slot bench_node is made, and dropped, by who starts this.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { WebSocketServer } from 'ws';

const rooms = new Map();

const server = new WebSocketServer({ port: Number(process.argv[2]),
  host: '127.0.0.1', perMessageDeflate: false });

server.on('connection', socket => {
  let room;
  socket.on('message', data => {
    const [joinRef, ref, topic, event, payload] = JSON.parse(data);
    const reply = response => socket.send(JSON.stringify(
      [joinRef, ref, topic, 'phx_reply', { status: 'ok', response }]));
    if (event === 'phx_join') {
      room = payload.config.postgres_changes[0].filter.slice('conversation_id=eq.'.length);
      if (!rooms.has(room))
        rooms.set(room, { topic, sockets: new Set() });
      rooms.get(room).sockets.add(socket);
    }
    reply({});
  });
  socket.on('close', () => rooms.get(room)?.sockets.delete(socket));
  socket.on('error', () => socket.terminate());
});

/* {action, timestamp, table, columns: [{name, type, value}]}, one a line. */
function publish(line) {
  const change = JSON.parse(line);
  if (change.action !== 'I' || !change.table.startsWith('messages_'))
    return;
  const columns = change.columns.map(({ name, type }) => ({ name, type }));
  const record = Object.fromEntries(
    change.columns.map(({ name, value }) => [name, value]));
  const room = rooms.get(record.conversation_id);
  if (!room)
    return;
  const frame = JSON.stringify([null, null, room.topic, 'postgres_changes', { ids: [1],
    data: { schema: 'public', table: 'messages', type: 'INSERT',
      commit_timestamp: change.timestamp, columns, record, errors: null } }]);
  for (const socket of room.sockets)
    socket.send(frame);
}

const slot = spawn('pg_recvlogical', ['-d', 'postgres', '--start', '--slot=bench_node',
  '--no-loop', '-f', '-',
  '--fsync-interval=0', '--status-interval=1', '-o', 'format-version=2',
  '-o', 'include-transaction=false', '-o', 'include-timestamp=true',
  '-o', 'add-tables=openhr_msg.*'], { stdio: ['ignore', 'pipe', 'inherit'] });
createInterface({ input: slot.stdout }).on('line', publish);
slot.on('exit', () => process.exit(1));
process.on('SIGTERM', () => slot.kill('SIGINT'));
