// SPDX-License-Identifier: Apache-2.0
// The plain live page: wiring only. No library, nothing from outside.
import {element, count, has, table, time} from '/format.js';
import {Live} from '/live.js';
import {SECTIONS, drawInstances, headline} from '/sections.js';

const HEALTH_MS = 2000;
const FEED_ROWS = 200;
const $ = (id) => document.getElementById(id);

// ---- sections

const answers = {};  // by section id
const changed = new Set();
let isDrawQueued = false;

function queueDraw(id) {
  changed.add(id);
  if (isDrawQueued) return;
  isDrawQueued = true;
  requestAnimationFrame(drawChanged);
}

function drawChanged() {
  isDrawQueued = false;
  // Findings mark the curve and the models.
  if (changed.has('findings')) { changed.add('trading'); changed.add('models'); }
  for (const section of SECTIONS) {
    if (!changed.has(section.id) || !answers[section.id]) continue;
    $(section.id).hidden = false;
    section.draw(answers[section.id], $(section.id + '-body'), $(section.id + '-over'), answers);
  }
  changed.clear();
  $('figures').replaceChildren(...headline(answers));
}

// A section is shown only if somebody answers its route.
function onAnswer(path, status, body) {
  const section = SECTIONS.find((one) => one.path === path);
  if (status === 401) $('login').hidden = false;
  if (!section) return;
  if (status === 200 && body) {
    answers[section.id] = body;
    queueDraw(section.id);
  } else if (status === 404) {
    $(section.id).hidden = true;
  } else if (!$(section.id).hidden) {
    $(section.id + '-over').textContent = `not answered (${status}), figures are old`;
  }
}

// ---- health

function drawHealth(data) {
  const instances = data.instances || [];
  const bad = instances.filter((one) => one.health && one.health !== 'ok' && one.health !== 0);
  const chip = $('health');
  chip.className = 'chip ' + (data.ready ? (bad.length ? 'warn' : 'good') : 'bad');
  chip.textContent = data.ready ? (bad.length ? `${bad.length} degraded` : 'Healthy') : 'Not ready';
  $('clock').textContent = has(data.log_time) ? 'log time ' + time(data.log_time) + ' UTC' : 'log time: no data';
  $('instances').hidden = instances.length === 0;
  drawInstances(instances, $('instances-body'), $('instances-over'));
}

async function pollHealth() {
  if (!document.hidden) {
    try {
      const health = await live.ask('/health/ready');
      $('strip').hidden = true;
      if (health.status === 401) $('login').hidden = false;
      if (health.body) drawHealth(health.body);
    } catch (failure) {
      $('strip').hidden = false;
      $('strip').textContent = 'Connection lost. The figures are old; trying again every 2 s.';
      $('health').className = 'chip bad';
      $('health').textContent = 'Disconnected';
    }
  }
  setTimeout(pollHealth, HEALTH_MS);
}

// ---- the feed

let isPaused = false;
let seen = 0;
let dropped = 0;
let waiting = [];
let isFeedQueued = false;

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
  isFeedQueued = false;
  if (isPaused) return;
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

function queueFeed() {
  if (isFeedQueued) return;
  isFeedQueued = true;
  requestAnimationFrame(drawFeed);
}

const live = new Live({
  state(words, className) {
    $('live').textContent = words;
    $('live').className = 'chip ' + className;
  },
  event(message) {
    seen += 1;
    waiting.push(message);
    if (waiting.length > FEED_ROWS) waiting.shift();
    if (isPaused) $('feed-over').textContent = `paused, ${count(seen)} seen`;
    queueFeed();
  },
  dropped(lost) {
    dropped += lost;
    queueFeed();
  },
  failure(message) { $('feed-over').textContent = message; },
  answer: onAnswer,
});

// ---- controls

const themes = ['system', 'dark', 'light'];
const systemLight = matchMedia('(prefers-color-scheme: light)');

function applyTheme() {
  const theme = localStorage.getItem('ephor-theme') || 'system';
  const isLight = theme === 'light' || (theme === 'system' && systemLight.matches);
  document.documentElement.classList.toggle('light', isLight);
  $('theme').textContent = 'Theme: ' + theme;
}

const topicsWanted = () => $('topics').value.split(/[\s,]+/).filter(Boolean);

$('theme').addEventListener('click', () => {
  const now = localStorage.getItem('ephor-theme') || 'system';
  localStorage.setItem('ephor-theme', themes[(themes.indexOf(now) + 1) % themes.length]);
  applyTheme();
});
systemLight.addEventListener('change', applyTheme);
$('subscribe').addEventListener('click', () => live.subscribe(topicsWanted()));
$('topics').addEventListener('keydown', (event) => { if (event.key === 'Enter') live.subscribe(topicsWanted()); });
$('pause').addEventListener('click', () => {
  isPaused = !isPaused;
  $('pause').textContent = isPaused ? 'Resume' : 'Pause';
  $('pause').setAttribute('aria-pressed', String(isPaused));
  if (!isPaused) drawFeed();
});
$('login').addEventListener('submit', (event) => {
  event.preventDefault();
  $('login').hidden = true;
  live.useToken($('token').value.trim());
});
addEventListener('resize', () => queueDraw('trading'));

applyTheme();
$('figures').replaceChildren(...headline(answers));
$('feed-body').replaceChildren(element('p', 'No event of these topics yet.', 'none'));
live.start(SECTIONS.map((one) => one.path), topicsWanted());
pollHealth();
