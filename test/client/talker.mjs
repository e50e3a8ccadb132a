/*
 * What the tests of broadcast and presence share: a channel that speaks, and
 * keeps what it hears and whom it sees; and settings that follow a reload.
 */
import { Listener, sql } from './harness.mjs';

/* config is that of supabase-js; with presence: it looks who is there. */
export class Talker extends Listener {
  constructor(client, topic, config = {}) {
    super(client, [topic, { config }]);
    this.heard = [];
    this.joins = [];
    this.leaves = [];
    this.states = [];
    this.channel.on('broadcast', { event: '*' }, message => this.note(this.heard, message));
    if (config.presence === undefined)
      return;
    this.channel
      .on('presence', { event: 'sync' }, () =>
        this.note(this.states, structuredClone(this.channel.presenceState())))
      .on('presence', { event: 'join' }, event => this.note(this.joins, event))
      .on('presence', { event: 'leave' }, event => this.note(this.leaves, event));
  }

  say(event, payload) {
    return this.channel.send({ type: 'broadcast', event, payload });
  }

  /* Wait for a broadcast of this event. */
  hears(event) {
    return this.until(() => this.heard.find(message => message.event === event),
      `the broadcast "${event}"`);
  }

  /* Wait until exactly these keys are present. */
  sees(...keys) {
    const wanted = String(keys.sort());
    return this.until(() => {
      const state = this.channel.presenceState();
      return String(Object.keys(state).sort()) === wanted ? state : undefined;
    }, `presence of ${wanted || 'nobody'}`);
  }
}

export const talk = (client, topic, config) => new Talker(client, topic, config).joined();

/* Change a setting for a test; what follows from it is to be waited for. */
export async function setting(t, name, value) {
  const reset = async () => {
    await sql(`ALTER SYSTEM RESET openhr_msg.${name}`);
    await sql('SELECT pg_reload_conf()');
  };
  await sql(`ALTER SYSTEM SET openhr_msg.${name} = '${value}'`);
  await sql('SELECT pg_reload_conf()');
  t.after(reset);
  return reset;
}
