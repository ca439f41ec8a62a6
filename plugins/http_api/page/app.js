// SPDX-License-Identifier: Apache-2.0
// The plain live page: figures by polling, events by one WebSocket. No library, nothing from outside.
'use strict';

const REFRESH_MS = 2000;
const FEED_ROWS = 200;
const $ = (id) => document.getElementById(id);
const NONE = 'no data';

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// ---- words and numbers

const plain = new Intl.NumberFormat('en', {maximumFractionDigits: 0});
const has = (value) => value !== null && value !== undefined && value !== '';
const count = (value) => has(value) ? plain.format(value) : NONE;
const fixed = (value, digits) => has(value) ? Number(value).toFixed(digits).replace('-', '\u2212') : NONE;
const percent = (value, digits = 1) => has(value) ? fixed(value * 100, digits) + '\u2009%' : NONE;
const money = (value) => !has(value) ? NONE
  : (value < 0 ? '\u2212' : '+') + new Intl.NumberFormat('en', {minimumFractionDigits: 2, maximumFractionDigits: 2}).format(Math.abs(value));
const time = (value) => has(value) ? String(value).replace('T', ' ').replace(/(\.\d{3})\d*/, '$1').replace('Z', '') : NONE;

function figure(label, value, note, className) {
  const box = element('div', null, 'figure');
  box.append(element('span', label));
  box.append(element('b', value, value === NONE ? 'none' : className));
  box.append(element('span', note || '\u00A0'));
  return box;
}

// columns: [title, value(row), kind] with kind 'number', 'id', 'text' or nothing
function table(rows, columns) {
  const made = element('table');
  const head = element('tr');
  for (const [title, , kind] of columns) head.append(element('th', title, kind === 'number' ? 'number' : ''));
  const top = element('thead');
  top.append(head);
  const body = element('tbody');
  for (const row of rows) {
    const line = element('tr');
    for (const [, value, kind] of columns) {
      const text = value(row);
      const cell = element('td', has(text) ? text : '\u2013', kind || '');
      if (text === NONE || !has(text)) cell.classList.add('none');
      cell.title = has(text) ? text : '';
      line.append(cell);
    }
    body.append(line);
  }
  made.append(top, body);
  return made;
}

// ---- asking

let token = sessionStorage.getItem('ephor-token') || '';

async function ask(path) {
  const headers = token ? {Authorization: 'Bearer ' + token} : {};
  const answer = await fetch(path, {headers, cache: 'no-store'});
  if (answer.status === 401) $('login').hidden = false;
  const body = await answer.json().catch(() => null);
  return {status: answer.status, body, asOf: answer.headers.get('Ephor-As-Of-Sequence')};
}

// A section is shown only if somebody answers its route.
async function section(id, path, draw) {
  let answer;
  try {
    answer = await ask(path);
  } catch (failure) {
    return null;
  }
  const box = $(id);
  if (answer.status !== 200 || !answer.body) {
    if (answer.status !== 404 && answer.status !== 401 && !box.hidden) {
      $(id + '-over').textContent = 'not answered (' + answer.status + '), figures are old';
    }
    if (answer.status === 404) box.hidden = true;
    return null;
  }
  box.hidden = false;
  draw(answer.body, $(id + '-body'), $(id + '-over'));
  return answer.body;
}

function empty(body, words) { body.replaceChildren(element('p', words, 'none')); }

function drawPerformance(data, body, over) {
  const rows = [...(data.operations || [])].sort((a, b) => b.count - a.count);
  const all = data.over || {};
  over.textContent = has(all.spans) ? `${count(all.spans)} spans, ${time(all.from)} to ${time(all.to)} UTC, ms` : 'ms';
  if (!rows.length) return empty(body, 'No spans yet.');
  body.replaceChildren(table(rows.slice(0, 200), [
    ['component', (r) => r.component], ['operation', (r) => r.operation],
    ['count', (r) => count(r.count), 'number'], ['errors', (r) => percent(r.error_rate, 2), 'number'],
    ['p50', (r) => fixed(r.p50_ms, 2), 'number'], ['p95', (r) => fixed(r.p95_ms, 2), 'number'],
    ['p99', (r) => fixed(r.p99_ms, 2), 'number']]));
}

function drawModels(data, body, over) {
  const rows = data.models || [];
  over.textContent = `${count(rows.length)} models, accuracy with its 95 % interval`;
  if (!rows.length) return empty(body, 'No predictions yet.');
  body.replaceChildren(table(rows.slice(0, 200), [
    ['model', (r) => r.model_id, 'id'], ['predictions', (r) => count(r.predictions), 'number'],
    ['outcomes', (r) => count(r.outcomes_joined), 'number'], ['accuracy', (r) => percent(r.accuracy), 'number'],
    ['interval', (r) => has(r.accuracy_low_95) ? percent(r.accuracy_low_95).replace(/\s*%$/, '') + '–' + percent(r.accuracy_high_95) : NONE, 'number'],
    ['recent', (r) => percent((r.window || {}).accuracy), 'number'],
    ['confidence', (r) => fixed(r.mean_confidence, 3), 'number'], ['Brier', (r) => fixed(r.brier_score, 4), 'number']]));
}

function drawErrors(data, body, over) {
  const rows = data.groups || data.errors || [];
  const all = data.over || {};
  over.textContent = has(all.error_spans) ? `${count(all.error_spans)} of ${count(all.spans)} spans` : '';
  if (!rows.length) return empty(body, 'No errors seen.');
  body.replaceChildren(table(rows.slice(0, 100), [
    ['count', (r) => count(r.count), 'number'], ['component', (r) => r.component], ['operation', (r) => r.operation],
    ['message', (r) => r.message, 'text'], ['last', (r) => time(r.last_seen), 'number']]));
}

function drawTrading(data, body, over) {
  over.textContent = has(data.closed) ? `over ${count(data.closed)} closed trades` : '';
  const row = element('div', null, 'row');
  const drawdown = data.max_drawdown;
  const tone = (value) => has(value) ? (value < 0 ? 'loss' : 'gain') : '';
  row.append(
    figure('P&L', money(data.pnl), 'closed trades', tone(data.pnl)),
    figure('Trades', count(data.trades), `${count(data.closed)} closed`),
    figure('Win rate', percent(data.win_rate), has(data.won) ? `${count(data.won)} won, ${count(data.lost)} lost` : ''),
    figure('Profit factor', fixed(data.profit_factor, 2), 'gross profit / gross loss'),
    figure('Expectancy', money(data.expectancy), 'per closed trade', tone(data.expectancy)),
    figure('Max drawdown', drawdown ? money(-drawdown.amount) : NONE, drawdown ? `until ${time(drawdown.trough).slice(0, 16)} UTC` : ''));
  body.replaceChildren(row);
}

function drawHealth(data) {
  const instances = data.instances || [];
  const bad = instances.filter((one) => one.health && one.health !== 'ok' && one.health !== 0);
  const chip = $('health');
  chip.className = 'chip ' + (data.ready ? (bad.length ? 'warn' : 'good') : 'bad');
  chip.textContent = data.ready ? (bad.length ? `${bad.length} degraded` : 'Healthy') : 'Not ready';
  $('clock').textContent = has(data.log_time) ? 'log time ' + time(data.log_time) + ' UTC' : 'log time: no data';
  $('instances').hidden = instances.length === 0;
  $('instances-over').textContent = `${instances.length} running`;
  $('instances-body').replaceChildren(table(instances, [
    ['instance', (r) => r.instance], ['plugin', (r) => r.plugin], ['state', (r) => r.state],
    ['health', (r) => has(r.health) ? String(r.health) : NONE], ['reason', (r) => r.reason, 'text'],
    ['lag, events', (r) => count(r.lag_events), 'number']]));
}

let lastSequence = null;

async function refresh() {
  let health;
  try {
    health = await ask('/health/ready');
    $('strip').hidden = true;
  } catch (failure) {
    $('strip').hidden = false;
    $('strip').textContent = 'Connection lost. The figures are old; trying again every 2 s.';
    $('health').className = 'chip bad';
    $('health').textContent = 'Disconnected';
    return;
  }
  if (health.body) drawHealth(health.body);
  lastSequence = health.asOf;
  const [performance, models] = await Promise.all([
    section('performance', '/api/tracing/performance', drawPerformance),
    section('models', '/api/ml/models', drawModels),
    section('errors', '/api/tracing/errors?limit=50', drawErrors),
    section('trading', '/api/performance', drawTrading),
  ]);
  const all = performance && performance.all;
  const list = models && models.models;
  const sum = (name) => list ? list.reduce((total, one) => total + (one[name] || 0), 0) : null;
  $('figures').replaceChildren(
    figure('Log sequence', has(lastSequence) ? String(lastSequence) : NONE, 'ordered, not dense'),
    figure('Spans', count(all && all.count), all ? `errors ${percent(all.error_rate, 2)}` : ''),
    figure('Latency p95', all && has(all.p95_ms) ? fixed(all.p95_ms, 1) + '\u2009ms' : NONE, 'all components'),
    figure('Predictions', count(sum('predictions')), list ? `${count(sum('outcomes_joined'))} with outcome` : ''),
    figure('Events shown', count(seen), dropped ? `${count(dropped)} not sent` : 'since this page opened'));
}

// ---- the feed

let socket = null;
let retry = 1;
let wanted = [];
let paused = false;
let seen = 0;
let dropped = 0;
let waiting = [];
let drawQueued = false;

function live(words, className) {
  $('live').textContent = words;
  $('live').className = 'chip ' + className;
}

function brief(data) {
  if (data === null || typeof data !== 'object') return String(data);
  return Object.entries(data).filter(([, value]) => value === null || typeof value !== 'object')
    .slice(0, 8).map(([key, value]) => `${key}: ${value}`).join('   ');
}

function feedRow(message) {
  const event = message.event;
  const line = element('tr');
  line.append(element('td', time(event.time)), element('td', event.type, 'id'), element('td', event.correlationid || '\u2013', 'id'));
  const cell = element('td', null, 'text');
  const box = element('details');
  box.append(element('summary', brief(event.data)));
  box.addEventListener('toggle', () => {
    if (box.open && box.children.length === 1) box.append(element('pre', JSON.stringify(event, null, 2)));
  });
  cell.append(box);
  line.append(cell);
  return line;
}

function drawFeed() {
  drawQueued = false;
  if (paused) return;
  const body = $('feed-body');
  let rows = body.querySelector('tbody');
  if (!rows) {
    body.replaceChildren(table([], [['time, UTC', () => ''], ['topic', () => ''], ['correlation', () => ''], ['data', () => '']]));
    rows = body.querySelector('tbody');
  }
  const fresh = waiting.slice(-FEED_ROWS).reverse().map(feedRow);
  waiting = [];
  rows.prepend(...fresh);
  while (rows.children.length > FEED_ROWS) rows.lastChild.remove();
  $('feed-over').textContent = `newest first, ${count(seen)} seen` + (dropped ? `, ${count(dropped)} not sent` : '');
}

function onMessage(message) {
  if (message.type === 'event') {
    seen += 1;
    waiting.push(message);
    if (waiting.length > FEED_ROWS) waiting.shift();
    if (paused) $('feed-over').textContent = `paused, ${count(seen)} seen`;
  } else if (message.type === 'dropped') {
    dropped += message.count;
  } else if (message.type === 'error') {
    $('feed-over').textContent = message.message;
    return;
  }
  if (!drawQueued) {
    drawQueued = true;
    requestAnimationFrame(drawFeed);
  }
}

function subscribe() {
  const next = $('topics').value.split(/[\s,]+/).filter(Boolean);
  if (socket && socket.readyState === WebSocket.OPEN) {
    const gone = wanted.filter((topic) => !next.includes(topic));
    if (gone.length) socket.send(JSON.stringify({unsubscribe: gone}));
    if (next.length) socket.send(JSON.stringify({subscribe: next, id: 1}));
  }
  wanted = next;
}

function connect() {
  const scheme = location.protocol === 'https:' ? 'wss://' : 'ws://';
  socket = new WebSocket(scheme + location.host + '/ws' + (token ? '?access_token=' + encodeURIComponent(token) : ''));
  socket.onopen = () => { retry = 1; live('Live', 'good'); wanted = []; subscribe(); };
  socket.onmessage = (frame) => onMessage(JSON.parse(frame.data));
  socket.onclose = () => {
    live(`Feed: trying again in ${retry} s`, 'bad');
    setTimeout(connect, retry * 1000);
    retry = Math.min(retry * 2, 15);
  };
}

// ---- controls

const themes = ['system', 'dark', 'light'];
const systemLight = matchMedia('(prefers-color-scheme: light)');

function applyTheme() {
  const theme = localStorage.getItem('ephor-theme') || 'system';
  const isLight = theme === 'light' || (theme === 'system' && systemLight.matches);
  document.documentElement.classList.toggle('light', isLight);
  $('theme').textContent = 'Theme: ' + theme;
}

$('theme').addEventListener('click', () => {
  const now = localStorage.getItem('ephor-theme') || 'system';
  localStorage.setItem('ephor-theme', themes[(themes.indexOf(now) + 1) % themes.length]);
  applyTheme();
});
systemLight.addEventListener('change', applyTheme);
$('subscribe').addEventListener('click', subscribe);
$('topics').addEventListener('keydown', (event) => { if (event.key === 'Enter') subscribe(); });
$('pause').addEventListener('click', () => {
  paused = !paused;
  $('pause').textContent = paused ? 'Resume' : 'Pause';
  $('pause').setAttribute('aria-pressed', String(paused));
  if (!paused) drawFeed();
});
$('login').addEventListener('submit', (event) => {
  event.preventDefault();
  token = $('token').value.trim();
  sessionStorage.setItem('ephor-token', token);
  $('login').hidden = true;
  if (socket) socket.close();
  refresh();
});

applyTheme();
empty($('feed-body'), 'No event of these topics yet.');
connect();
(async function poll() {
  if (!document.hidden || lastSequence === null) await refresh();
  setTimeout(poll, REFRESH_MS);
})();
