// SPDX-License-Identifier: Apache-2.0
// Words and numbers. Nothing is made up: what is missing is "no data".
export const NONE = 'no data';

const plain = new Intl.NumberFormat('en', {maximumFractionDigits: 0});
const cents = new Intl.NumberFormat('en', {minimumFractionDigits: 2, maximumFractionDigits: 2});
const MINUS = '\u2212';
const THIN = '\u2009';

export const has = (value) => value !== null && value !== undefined && value !== '';
export const count = (value) => has(value) ? plain.format(value) : NONE;
export const fixed = (value, digits) => has(value) ? Number(value).toFixed(digits).replace('-', MINUS) : NONE;
export const percent = (value, digits = 1) => has(value) ? fixed(value * 100, digits) + THIN + '%' : NONE;
export const money = (value) => !has(value) ? NONE : (value < 0 ? MINUS : '+') + cents.format(Math.abs(value));
export const amount = (value) => has(value) ? cents.format(value).replace('-', MINUS) : NONE;
export const time = (value) => has(value)
  ? String(value).replace('T', ' ').replace(/(\.\d{3})\d*/, '$1').replace('Z', '') : NONE;
export const minute = (value) => has(value) ? time(value).slice(0, 16) : NONE;
export const clock = (value) => has(value) ? time(value).slice(11, 19) : NONE;
export const interval = (low, high, digits = 1) => has(low) && has(high)
  ? fixed(low * 100, digits) + '\u2013' + percent(high, digits) : NONE;
export const words = (name) => String(name).replaceAll('_', ' ');
export const tone = (value) => has(value) ? (value < 0 ? 'loss' : 'gain') : '';

export function element(name, text, className) {
  const made = document.createElement(name);
  if (has(text)) made.textContent = text;
  if (className) made.className = className;
  return made;
}

export function figure(label, value, note, className) {
  const box = element('div', null, 'figure');
  box.append(element('span', label), element('b', value, value === NONE ? 'none' : className),
    element('span', note || '\u00A0'));
  return box;
}

// columns: [title, value(row), kind]; kind: 'number', 'id', 'text', more class names, or nothing.
// A value may be a node.
export function table(rows, columns) {
  const made = element('table');
  const head = element('tr');
  for (const [title, , kind] of columns) head.append(element('th', title, kind && kind.includes('number') ? 'number' : ''));
  const top = element('thead');
  top.append(head);
  const body = element('tbody');
  for (const row of rows) {
    const line = element('tr');
    for (const [, value, kind] of columns) {
      const found = value(row);
      const cell = element('td', null, kind || '');
      if (found instanceof Node) {
        cell.append(found);
      } else {
        cell.textContent = has(found) ? found : '\u2013';
        cell.title = has(found) ? found : '';
        if (found === NONE || !has(found)) cell.classList.add('none');
      }
      line.append(cell);
    }
    body.append(line);
  }
  made.append(top, body);
  return made;
}
