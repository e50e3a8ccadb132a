/*
 * The page: chooses a person, connects the state (chat.js) to what is seen
 * (view.js), and turns clicks and keys into calls.
 */
import { Chat } from './chat.js';
import { continues, conversationItem, daySeparator, messageItem, paintAvatar, personCard, sameDay,
  show } from './view.js';

const $ = id => document.getElementById(id);
const config = await (await fetch('config.json')).json();
const names = new Map(config.people.map(person => [person.id, person.name]));
const nameOf = id => names.get(id) ?? (id === null ? 'Assistant' : 'Someone');
const handle = new URLSearchParams(location.search).get('as');
const me = config.people.find(person => person.handle === handle);

let chat;
let replyTo = null;             /* the message that is being answered */
let editing = null;             /* the message that is being changed */
const drawn = new Map();        /* id -> what it was drawn from, its element */

function choose() {
  show($('people'), config.people.map(personCard));
  $('chooser').hidden = false;
}

async function start() {
  document.title = `${me.name} · OpenHR chat`;
  $('me-name').textContent = me.name;
  paintAvatar($('me-avatar'), me.name);
  $('chat').hidden = false;

  /* One token for calls and for the WebSocket. */
  const client = supabase.createClient(location.origin, config.anonKey,
    { accessToken: async () => me.token });
  await client.realtime.setAuth();
  chat = new Chat(client, me.id, schedule);
  chat.start();
  addEventListener('hashchange', follow);
  addEventListener('focus', schedule);
  document.addEventListener('visibilitychange', schedule);
  follow();
}

/* The open conversation is in the address: "back" works, on a phone too. */
function follow() {
  const id = location.hash.slice(1);
  stopContext();
  drawn.clear();
  $('error').hidden = true;
  if (id)
    chat.open(id);
  else
    chat.close();
  document.body.dataset.room = id ? 'open' : 'none';
  $('composer').hidden = !id;
  schedule();
  if (id)
    $('text').focus({ preventScroll: true });
}

/* Run something that may fail, and say so when it does. */
async function attempt(work) {
  try {
    $('error').hidden = true;
    await work();
    return true;
  } catch (error) {
    $('error').textContent = error.message ?? String(error);
    $('error').hidden = false;
    return false;
  }
}

/* ---- drawing ----------------------------------------------------------- */

let scheduled = false;

function schedule() {
  if (scheduled)
    return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    draw();
  });
}

function draw() {
  const states = { connecting: 'Connecting', live: 'Live', reconnecting: 'Reconnecting' };
  $('connection').dataset.state = chat.connection;
  $('connection').textContent = states[chat.connection];
  show($('conversations'), chat.list().map(drawConversation));
  if (chat.room)
    drawRoom();
}

/* Draw something anew only when it looks different. */
function cached(key, looks, make) {
  const signature = JSON.stringify(looks);
  const known = drawn.get(key);
  if (known?.signature === signature)
    return known.element;
  const element = make();
  drawn.set(key, { signature, element });
  return element;
}

function titleOf(conversation) {
  return conversation.title ?? (others(conversation).map(p => nameOf(p.profile_id)).join(', ')
    || 'Only you');
}

function others(conversation) {
  return (conversation.participants ?? []).filter(p => p.profile_id !== me.id);
}

function lastWords(message) {
  if (!message)
    return 'No messages yet';
  if (message.is_deleted)
    return 'Message deleted';
  const who = message.sender_profile_id === me.id ? 'You: ' : '';
  return who + (message.content ?? '');
}

function drawConversation(conversation) {
  const looks = {
    id: conversation.id,
    title: titleOf(conversation),
    last: lastWords(conversation.last_message),
    unread: chat.unread(conversation),
    open: chat.room?.id === conversation.id,
    when: conversation.last_message?.created_at ?? conversation.updated_at,
  };
  return cached(`conversation ${conversation.id}`, looks, () => conversationItem(looks));
}

function drawRoom() {
  const conversation = chat.conversations.get(chat.room.id);
  if (conversation) {
    $('room-title').textContent = titleOf(conversation);
    paintAvatar($('room-avatar'), titleOf(conversation));
    $('room-people').textContent = conversation.type === 'group'
      ? others(conversation).map(p => nameOf(p.profile_id)).concat('you').join(', ') : '';
  }
  const scroller = $('scroller');
  const atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
  const fromEnd = scroller.scrollHeight - scroller.scrollTop;
  show($('messages'), drawMessages());
  $('older').hidden = !chat.room.filled || chat.room.first <= 1;
  scroller.scrollTop = atEnd || !chat.room.drawn
    ? scroller.scrollHeight : scroller.scrollHeight - fromEnd;
  chat.room.drawn = chat.room.filled;
  if (document.visibilityState === 'visible' && document.hasFocus())
    chat.read().catch(() => { chat.room.marked = 0; });
}

function drawMessages() {
  const inGroup = chat.room.participants.size > 2;
  const elements = [];
  let previous = null;
  for (const row of chat.messages()) {
    if (!previous || !sameDay(previous.created_at, row.created_at)) {
      const day = new Date(row.created_at).toDateString();
      elements.push(cached(`day ${day}`, day, () => daySeparator(row.created_at)));
    }
    const mine = row.sender_profile_id === me.id;
    const answered = row.reply_to_message_id && chat.room.messages.get(row.reply_to_message_id);
    const looks = {
      mine,
      name: inGroup ? nameOf(row.sender_profile_id) : null,
      quote: row.reply_to_message_id ? {
        name: answered ? nameOf(answered.sender_profile_id) : '',
        text: answered ? lastWords({ ...answered, sender_profile_id: null }) : 'An earlier message',
      } : null,
      readers: mine ? chat.readers(row).map(p => nameOf(p.profile_id)) : null,
      continued: continues(row, previous),
    };
    elements.push(cached(`message ${row.id}`, [row.version, looks],
      () => messageItem(row, looks)));
    previous = row;
  }
  return elements;
}

/* ---- clicks and keys --------------------------------------------------- */

$('conversations').addEventListener('click', event => {
  const button = event.target.closest('button');
  if (button)
    location.hash = button.dataset.id;
});

$('back').addEventListener('click', () => { location.hash = ''; });

$('older').addEventListener('click', () => attempt(() => chat.older()));

$('messages').addEventListener('click', event => {
  const button = event.target.closest('button[data-action]');
  const row = button && chat.room.messages.get(button.dataset.id);
  if (!row)
    return;
  const act = {
    reply: () => startContext('reply', row),
    edit: () => startContext('edit', row),
    suggest: () => {
      $('text').value = row.content;
      $('text').focus();
    },
    /* The first click asks, the second one does it. */
    delete: () => {
      if (button.dataset.sure)
        return attempt(() => chat.remove(row.id));
      button.dataset.sure = 'yes';
      button.textContent = 'Delete for all?';
      button.addEventListener('blur', () => {
        delete button.dataset.sure;
        button.textContent = 'Delete';
      }, { once: true });
    },
  };
  act[button.dataset.action]();
});

function startContext(kind, row) {
  stopContext();
  if (kind === 'edit') {
    editing = row;
    $('text').value = row.content;
  } else {
    replyTo = row;
  }
  $('context-text').textContent = kind === 'edit' ? 'Editing your message'
    : `Reply to ${nameOf(row.sender_profile_id)}: ${row.content}`;
  $('context').hidden = false;
  $('send').textContent = kind === 'edit' ? 'Save' : 'Send';
  $('text').focus();
}

function stopContext() {
  if (editing)
    $('text').value = '';
  editing = replyTo = null;
  $('context').hidden = true;
  $('send').textContent = 'Send';
}

$('context-cancel').addEventListener('click', () => {
  stopContext();
  $('text').focus();
});

$('text').addEventListener('keydown', event => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $('composer').requestSubmit();
  } else if (event.key === 'Escape') {
    stopContext();
  }
});

/* A text that could not be sent stays, with its key: sending it again cannot
 * store it twice. */
let unsent = null;

$('composer').addEventListener('submit', async event => {
  event.preventDefault();
  const text = $('text').value.trim();
  if (!text)
    return;
  const [edited, answered] = [editing, replyTo];
  const key = unsent?.text === text ? unsent.key : crypto.randomUUID();
  $('text').value = '';
  stopContext();
  const sent = await attempt(() => edited
    ? chat.edit(edited.id, text) : chat.send(text, answered?.id ?? null, key));
  unsent = sent ? null : { text, key };
  if (!sent && !$('text').value)
    $('text').value = text;
});

if (me)
  await start();
else
  choose();
