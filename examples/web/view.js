/*
 * What the state looks like: rows in, elements out.  Text becomes text nodes
 * only, so that nothing that a person writes can become markup.
 */
const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: 'long' });
const date = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long', year: 'numeric' });
const DAY = 24 * 3600 * 1000;

export function el(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === 'dataset')
      Object.assign(element.dataset, value);
    else if (key.includes('-') || key === 'role')
      element.setAttribute(key, value);
    else
      element[key] = value;
  }
  element.append(...children.filter(child => child !== null));
  return element;
}

/* Make these the children, and touch only what differs: focus, selection and
 * what a screen reader announces stay as they are. */
export function show(parent, elements) {
  elements.forEach((element, i) => {
    if (parent.children[i] !== element)
      parent.insertBefore(element, parent.children[i] ?? null);
  });
  while (parent.children.length > elements.length)
    parent.lastElementChild.remove();
}

const initials = name => name.split(/\s+/).map(word => word[0]).slice(0, 2).join('').toUpperCase();

/* One of eight colours, the same for a name everywhere. */
export function paintAvatar(element, name) {
  const hash = [...name].reduce((sum, c) => Math.imul(sum ^ c.codePointAt(0), 16777619), 7);
  element.textContent = initials(name);
  element.dataset.colour = (hash >>> 8) % 8;
  return element;
}

const avatar = name => paintAvatar(el('span', { className: 'avatar', 'aria-hidden': 'true' }), name);

const midnight = when => new Date(when).setHours(0, 0, 0, 0);

function dayName(when) {
  const days = Math.round((midnight(Date.now()) - midnight(when)) / DAY);
  if (days === 0)
    return 'Today';
  if (days === 1)
    return 'Yesterday';
  return days < 7 ? weekday.format(when) : date.format(when);
}

export function personCard(person) {
  return el('li', {}, el('a', { href: `?as=${encodeURIComponent(person.handle)}` },
    avatar(person.name),
    el('span', { className: 'who' }, el('strong', { textContent: person.name }),
      el('span', { textContent: person.headline }))));
}

/* A conversation in the list: who, the last words, when, how many unread. */
export function conversationItem({ id, title, last, unread, open, when }) {
  const badge = unread > 0
    ? el('span', { className: 'badge', textContent: unread > 99 ? '99+' : unread,
      'aria-label': `${unread} unread` })
    : null;
  return el('li', {}, el('button', { type: 'button', dataset: { id },
    'aria-current': open ? 'true' : 'false' },
    avatar(title),
    el('span', { className: 'who' },
      el('strong', { textContent: title }),
      el('span', { className: 'last', textContent: last })),
    el('span', { className: 'side' },
      el('time', { dateTime: when, textContent:
        midnight(when) === midnight(Date.now()) ? time.format(new Date(when)) : dayName(new Date(when)) }),
      badge)));
}

export function daySeparator(when) {
  return el('li', { className: 'day', role: 'separator' },
    el('span', { textContent: dayName(new Date(when)) }));
}

export const sameDay = (a, b) => midnight(a) === midnight(b);

/* A message of its own, a few minutes after the last of the same person, goes
 * without a name. */
export const continues = (row, previous) => Boolean(previous)
  && previous.sender_profile_id === row.sender_profile_id
  && previous.content_type === row.content_type
  && sameDay(previous.created_at, row.created_at)
  && new Date(row.created_at) - new Date(previous.created_at) < 5 * 60 * 1000;

function ticks(readers) {
  if (readers === null)
    return null;
  return el('span', { className: 'ticks', dataset: { read: readers.length > 0 },
    textContent: readers.length > 0 ? '✓✓' : '✓',
    title: readers.length > 0 ? `Read by ${readers.join(', ')}` : 'Sent',
    'aria-label': readers.length > 0 ? `Read by ${readers.join(', ')}` : 'Sent', role: 'img' });
}

function actions(row, mine) {
  const button = (action, label) => el('button', { type: 'button', textContent: label,
    dataset: { action, id: row.id } });
  return el('span', { className: 'actions' }, button('reply', 'Reply'),
    ...(mine ? [button('edit', 'Edit'), button('delete', 'Delete')] : []));
}

/*
 * One message.  name is null where it goes without saying; quote is the message
 * that it answers, {name, text}, or null; readers are the names of who has
 * read it, or null for others' messages.
 */
export function messageItem(row, { mine, name, quote, readers, continued }) {
  if (row.content_type === 'system')
    return el('li', { className: 'system', dataset: { id: row.id } },
      el('span', { textContent: row.content }));
  if (row.content_type === 'suggested' && !row.is_deleted)
    return el('li', { className: 'suggested', dataset: { id: row.id } },
      el('button', { type: 'button', textContent: row.content,
        dataset: { action: 'suggest', id: row.id }, title: 'Use this opener' }));

  const when = new Date(row.created_at);
  const body = row.is_deleted
    ? el('p', { className: 'text', textContent: 'Message deleted' })
    : el('p', { className: 'text', textContent: row.content });
  return el('li', { className: 'message', dataset: { id: row.id, mine, continued,
    deleted: row.is_deleted } },
    mine || continued || !name ? null : el('span', { className: 'sender', textContent: name }),
    quote ? el('blockquote', {}, el('strong', { textContent: quote.name }),
      el('span', { textContent: quote.text })) : null,
    body,
    el('span', { className: 'meta' },
      row.is_edited && !row.is_deleted ? el('span', { textContent: 'edited' }) : null,
      el('time', { dateTime: row.created_at, textContent: time.format(when),
        title: when.toLocaleString() }),
      row.is_deleted ? null : ticks(readers)),
    row.is_deleted ? null : actions(row, mine));
}
