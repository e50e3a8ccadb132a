/*
 * The chat without the page: conversations, messages, and how they stay up to
 * date.  Plain supabase-js; this file is what an application would take over.
 *
 * Two kinds of channels keep the state live:
 *	 - "inbox" hears about every conversation of this person, for the list;
 *	 - "room:<id>" hears what happens in the conversation that is open.
 * Whoever listens first and reads then misses nothing: a subscription is live
 * once it says SUBSCRIBED, so the tables are read at that moment, and again
 * whenever a broken connection has come back.  Events and rows may overlap;
 * of two states of a message the one with the higher version holds.
 */
const PAGE = 50;

export class Chat {
  /* changed() is called after every change of what is to be seen. */
  constructor(supabase, me, changed) {
    this.supabase = supabase;
    this.me = me;
    this.changed = changed;
    this.connection = 'connecting';
    this.conversations = new Map();
    this.room = null;
  }

  async call(name, parameters) {
    const { data, error } = await this.supabase.rpc(name, parameters);
    if (error)
      throw error;
    return data;
  }

  /* ---- the list ------------------------------------------------------ */

  start() {
    this.supabase.channel('inbox')
      .on('postgres_changes', { event: '*', schema: 'public', table: 'messages' },
        ({ new: row }) => this.takeLastMessage(row))
      .on('postgres_changes', { event: '*', schema: 'public', table: 'conversations' },
        ({ eventType, new: row, old }) => this.takeConversation(eventType, row, old))
      .on('postgres_changes', { event: '*', schema: 'public', table: 'conversation_participants',
        filter: `profile_id=eq.${this.me}` }, () => this.reload())
      .subscribe(status => {
        this.connection = status === 'SUBSCRIBED' ? 'live' : 'reconnecting';
        this.changed();
        if (status === 'SUBSCRIBED')
          this.reload();
      });
  }

  async reload() {
    const list = await this.call('list_conversations', { max: 100 });
    this.conversations = new Map(list.map(c => [c.id, c]));
    this.changed();
  }

  takeConversation(eventType, row, old) {
    if (eventType === 'DELETE')
      this.conversations.delete(old.id);
    else if (this.conversations.has(row.id))
      Object.assign(this.conversations.get(row.id), row);
    else
      return this.reload();
    this.changed();
  }

  takeLastMessage(row) {
    const conversation = this.conversations.get(row.conversation_id);
    if (!conversation || row.seq < (conversation.last_message?.seq ?? 0))
      return;
    conversation.last_message = row;
    this.changed();
  }

  /* Last active first. */
  list() {
    return [...this.conversations.values()]
      .sort((a, b) => b.updated_at.localeCompare(a.updated_at));
  }

  unread(conversation) {
    return Math.max(0, conversation.last_seq - conversation.last_read_seq);
  }

  /* ---- the open conversation ----------------------------------------- */

  open(id) {
    this.close();
    const room = { id, messages: new Map(), participants: new Map(), version: 0, first: Infinity };
    const here = { schema: 'public', filter: `conversation_id=eq.${id}` };
    this.room = room;
    room.channel = this.supabase.channel(`room:${id}`)
      .on('postgres_changes', { event: 'INSERT', table: 'messages', ...here },
        payload => this.takeMessages(room, [payload.new]))
      .on('postgres_changes', { event: 'UPDATE', table: 'messages', ...here },
        payload => this.takeMessages(room, [payload.new]))
      .on('postgres_changes', { event: 'UPDATE', table: 'conversation_participants', ...here },
        payload => this.takeParticipants(room, [payload.new]))
      .subscribe(status => status === 'SUBSCRIBED' && this.fill(room));
    this.changed();
  }

  close() {
    if (this.room)
      this.supabase.removeChannel(this.room.channel);
    this.room = null;
  }

  /* The newest page at first, later everything since the last version. */
  async fill(room) {
    const [conversation, rows] = await Promise.all([
      this.call('get_conversation', { conversation_id: room.id }),
      room.version === 0
        ? this.call('list_messages', { conversation_id: room.id, max: PAGE })
        : this.changesSince(room)]);
    this.takeParticipants(room, conversation.participants);
    this.takeMessages(room, rows);
    this.conversations.set(conversation.id, conversation);
    room.filled = true;
    this.changed();
  }

  async changesSince(room) {
    const rows = [];
    let page;
    do {
      page = await this.call('list_changes', { conversation_id: room.id, max: 100,
        since_version: rows.at(-1)?.version ?? room.version });
      rows.push(...page);
    } while (page.length === 100);
    return rows;
  }

  async older() {
    const room = this.room;
    this.takeMessages(room, await this.call('list_messages',
      { conversation_id: room.id, max: PAGE, before_seq: room.first }));
  }

  takeMessages(room, rows) {
    for (const row of rows) {
      const known = room.messages.get(row.id);
      if (!known || known.version <= row.version)
        room.messages.set(row.id, { ...known, ...row });
      room.version = Math.max(room.version, row.version);
      room.first = Math.min(room.first, row.seq);
    }
    this.changed();
  }

  takeParticipants(room, rows) {
    for (const row of rows) {
      const known = room.participants.get(row.profile_id);
      if (!known || known.last_read_seq <= row.last_read_seq)
        room.participants.set(row.profile_id, row);
      if (row.profile_id === this.me && this.conversations.has(room.id))
        this.conversations.get(room.id).last_read_seq = row.last_read_seq;
    }
    this.changed();
  }

  messages() {
    return [...this.room.messages.values()].sort((a, b) => a.seq - b.seq);
  }

  /* Who of the others has read up to this message? */
  readers(message) {
    return [...this.room.participants.values()].filter(p =>
      p.profile_id !== this.me && p.last_read_seq >= message.seq);
  }

  /* ---- what a person does -------------------------------------------- */

  /* The key makes a repeated send harmless: the server stores it once. */
  async send(content, replyTo, key) {
    const room = this.room;
    this.takeMessages(room, [await this.call('send_message', {
      conversation_id: room.id, content, reply_to_message_id: replyTo, client_message_id: key })]);
  }

  async edit(id, content) {
    const room = this.room;
    this.takeMessages(room, [await this.call('edit_message', { message_id: id, content })]);
  }

  async remove(id) {
    const room = this.room;
    this.takeMessages(room, [await this.call('delete_message', { message_id: id })]);
  }

  /* Mark what is on the screen as read, once. */
  async read() {
    const room = this.room;
    const last = this.messages().at(-1)?.seq ?? 0;
    const mine = room.participants.get(this.me)?.last_read_seq ?? 0;
    if (!room.filled || last <= Math.max(mine, room.marked ?? 0))
      return;
    room.marked = last;
    await this.call('mark_read', { conversation_id: room.id, up_to_seq: last });
  }
}
