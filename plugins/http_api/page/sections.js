// SPDX-License-Identifier: Apache-2.0
// Each section draws the answer of one route: draw(data, body, over, all). `all` holds the latest
// answers of the other sections by id.
import {bar, equityChart} from '/chart.js';
import {NONE, amount, clock, count, element, figure, fixed, has, interval, minute, money,
  percent, table, time, tone, words} from '/format.js';

const CHART_HEIGHT = 300;

function empty(body, text) { body.replaceChildren(element('p', text, 'none')); }

function drawTrading(data, body, over, all) {
  const curve = data.equity_curve || [];
  const isWhole = curve.length > 0 && curve.every((one) => has(one.equity));  // else only the P&L is known
  const points = curve.map((one) => ({time: Date.parse(one.time), value: isWhole ? one.equity : one.pnl}));
  const start = isWhole ? (data.equity || {}).realised_first ?? points[0].value : 0;
  over.textContent = has(data.closed) ? `realised, over ${count(data.closed)} closed trades; below it the fall from the highest` : '';
  const findings = ((all.findings || {}).alerts || []).map((one) => ({...one, detected: one.opened_at, closed: one.resolved_at,
    state: one.state === 'resolved' ? 'closed' : 'open'}));
  body.replaceChildren(equityChart(points, start, findings, Math.max(320, body.clientWidth - 32 || 800), CHART_HEIGHT));
}

const SEVERITY_ORDER = {critical: 0, warning: 1, info: 2};

function findingItem(alert) {
  const item = element('li', null, alert.state === 'resolved' ? 'resolved' : alert.severity);
  const head = element('div', null, 'finding-head');
  head.append(element('b', words(alert.kind)), element('span', alert.target, 'id'), element('span', null, 'gap'),
    element('span', minute(alert.state === 'resolved' ? alert.resolved_at : alert.opened_at), 'quiet'));
  item.append(head);
  if (alert.state !== 'resolved' && has(alert.summary)) item.append(element('p', alert.summary));
  return item;
}

function drawFindings(data, body, over) {
  const alerts = data.alerts || [];
  const open = alerts.filter((one) => one.state !== 'resolved')
    .sort((a, b) => (SEVERITY_ORDER[a.severity] - SEVERITY_ORDER[b.severity]) || (a.opened_at < b.opened_at ? 1 : -1));
  const resolved = alerts.filter((one) => one.state === 'resolved').sort((a, b) => a.resolved_at < b.resolved_at ? 1 : -1);
  over.textContent = `${count(open.length)} open, ${count(resolved.length)} resolved`;
  body.replaceChildren();
  if (!open.length) {
    body.append(element('p', resolved.length ? `Nothing needs you. The last finding closed ${minute(resolved[0].resolved_at)} UTC.` : 'Nothing needs you.', 'calm'));
  }
  const list = element('ul', null, 'findings-list');
  for (const alert of open) list.append(findingItem(alert));
  for (const alert of resolved.slice(0, 12)) list.append(findingItem(alert));
  body.append(list);
}

// The findings that are open for a model, as words.
function modelState(id, all) {
  const open = ((all.findings || {}).alerts || []).filter((one) => one.state !== 'resolved' && one.target === id);
  if (!open.length) return element('span', 'healthy', 'mark-ok');
  const worst = open.some((one) => one.severity === 'critical') ? 'critical' : 'warning';
  return element('span', open.map((one) => words(one.kind)).join(', '), 'mark-' + worst);
}

function drawModels(data, body, over, all) {
  const rows = data.models || [];
  over.textContent = `${count(rows.length)} models, accuracy with its 95 % interval`;
  if (!rows.length) return empty(body, 'No predictions yet.');
  const recent = (row) => row.window || {};
  body.replaceChildren(table(rows.slice(0, 200), [
    ['model', (r) => r.model_id, 'id'], ['version', (r) => r.model_version],
    ['outcomes', (r) => count(r.outcomes_joined), 'number'], ['accuracy', (r) => percent(r.accuracy), 'number'],
    ['interval', (r) => interval(r.accuracy_low_95, r.accuracy_high_95), 'number'],
    [`last ${count(recent(rows[0]).outcomes_max)}`, (r) => percent(recent(r).accuracy), 'number'],
    ['F1', (r) => fixed(r.f1_macro, 3), 'number'],
    ['Brier', (r) => fixed(r.brier_score, 3), 'number'], ['calibration error', (r) => fixed(r.expected_calibration_error, 3), 'number'],
    ['state', (r) => modelState(r.model_id, all)]]));
}

function drawDrift(data, body, over) {
  const rows = [...(data.features || [])].sort((a, b) => (b.psi ?? -1) - (a.psi ?? -1));
  over.textContent = 'features, the latest values against their reference';
  if (!rows.length) return empty(body, 'No features seen yet.');
  body.replaceChildren(table(rows.slice(0, 100), [
    ['feature', (r) => r.feature, 'id'], ['PSI', (r) => fixed(r.psi, 3), 'number'], ['KS', (r) => fixed(r.ks_statistic, 3), 'number'],
    ['values', (r) => count(r.count), 'number'],
    ['state', (r) => (r.open_findings || []).length ? element('span', r.open_findings.map((one) => words(one.kind ?? one)).join(', '), 'mark-warning') : 'quiet']]));
}

function drawPerformance(data, body, over) {
  const rows = [...(data.operations || [])].sort((a, b) => b.count - a.count);
  const all = data.over || {};
  over.textContent = has(all.spans) ? `${count(all.spans)} spans, ${minute(all.from)} to ${minute(all.to)} UTC, ms` : 'ms';
  if (!rows.length) return empty(body, 'No spans yet.');
  body.replaceChildren(table(rows.slice(0, 200), [
    ['component', (r) => r.component], ['operation', (r) => r.operation],
    ['count', (r) => count(r.count), 'number'], ['errors', (r) => percent(r.error_rate, 2), 'number'],
    ['p50', (r) => fixed(r.p50_ms, 2), 'number'], ['p95', (r) => fixed(r.p95_ms, 2), 'number'],
    ['p99', (r) => fixed(r.p99_ms, 2), 'number']]));
}

function drawTraces(data, body, over) {
  const rows = data.traces || [];
  over.textContent = has((data.over || {}).traces) ? `newest of ${count(data.over.traces)}, UTC` : '';
  if (!rows.length) return empty(body, 'No traces yet.');
  const longest = Math.max(...rows.map((one) => one.duration_ms || 0));
  body.replaceChildren(table(rows, [
    ['start', (r) => time(r.start).slice(11), 'number'], ['root', (r) => `${r.root_component || '\u2013'} ${r.root_operation || ''}`],
    ['spans', (r) => count(r.span_count), 'number'], ['errors', (r) => r.error_count ? element('span', count(r.error_count), 'mark-critical') : '0', 'number'],
    ['ms', (r) => fixed(r.duration_ms, 1), 'number'],
    ['', (r) => bar((r.duration_ms || 0) / (longest || 1))],
    ['correlation', (r) => r.correlation_id, 'id cut']]));
}

function drawTrades(data, body, over) {
  const rows = data.trades || [];
  over.textContent = has((data.over || {}).trades) ? `newest of ${count(data.over.trades)}, UTC` : '';
  if (!rows.length) return empty(body, 'No trades yet.');
  const profit = (row) => element('span', money(row.pnl), has(row.pnl) ? tone(row.pnl) : 'none');
  body.replaceChildren(table(rows, [
    ['opened', (r) => clock(r.open_time), 'number'], ['closed', (r) => has(r.close_time) ? clock(r.close_time) : 'open', 'number'],
    ['symbol', (r) => r.symbol], ['side', (r) => r.side], ['price', (r) => has(r.price) ? String(r.price) : NONE, 'number'],
    ['P&L', profit, 'number'], ['reason', (r) => r.close_reason], ['regime', (r) => has(r.regime) ? words(r.regime) : null]]));
}

function drawErrors(data, body, over) {
  const rows = data.groups || [];
  const all = data.over || {};
  over.textContent = has(all.error_spans) ? `${count(all.error_spans)} of ${count(all.spans)} spans` : '';
  if (!rows.length) return empty(body, 'No errors seen.');
  body.replaceChildren(table(rows.slice(0, 100), [
    ['count', (r) => count(r.count), 'number'], ['component', (r) => r.component], ['operation', (r) => r.operation],
    ['message', (r) => r.message, 'text'], ['last', (r) => minute(r.last_seen), 'number']]));
}

// One row per member: how often it is right, its weight as sent and as learnt here.
function drawEnsembles(data, body, over) {
  const ensembles = data.ensembles || [];
  const right = (one, who) => percent(((one.accuracy || {})[who] || {}).accuracy);
  over.textContent = ensembles.map((one) => `${one.ensemble_id}: ${count(one.decisions)} decisions, ${right(one, 'final_decision')} right, weighted vote ${right(one, 'weighted_vote')}, learnt ${right(one, 'learned_vote')}`).join('; ');
  if (!ensembles.length) return empty(body, 'No ensemble decisions yet.');
  body.replaceChildren();
  for (const ensemble of ensembles.slice(0, 5)) {
    body.append(table(ensemble.members || [], [
      ['member of ' + ensemble.ensemble_id, (r) => r.model_id, 'id'],
      ['accuracy', (r) => percent(r.accuracy), 'number'],
      ['recent', (r) => percent((r.window || {}).accuracy), 'number'],
      ['weight sent', (r) => percent(r.weight_sent), 'number'],
      ['weight learnt', (r) => percent(r.weight_learned), 'number'],
      ['without it', (r) => has((r.contribution || {}).gain) ? fixed(-100 * r.contribution.gain, 2) + '\u2009pp' : NONE, 'number']]));
  }
}

export function drawInstances(instances, body, over) {
  over.textContent = `${instances.length} running`;
  body.replaceChildren(table(instances, [
    ['instance', (r) => r.instance], ['plugin', (r) => r.plugin], ['state', (r) => r.state],
    ['health', (r) => has(r.health) ? String(r.health) : NONE], ['reason', (r) => r.reason, 'text'],
    ['lag, events', (r) => count(r.lag_events), 'number']]));
}

export function headline(all) {
  const trading = all.trading;
  const performance = (all.performance || {}).all;
  const models = (all.models || {}).models;
  const sum = (name) => models ? models.reduce((total, one) => total + (one[name] || 0), 0) : null;
  const fall = trading && trading.max_drawdown;
  return [
    figure('P&L', trading ? money(trading.pnl) : NONE, trading ? `${count(trading.closed)} of ${count(trading.trades)} trades closed` : '', trading ? tone(trading.pnl) : ''),
    figure('Win rate', trading ? percent(trading.win_rate) : NONE, trading && has(trading.won) ? `${count(trading.won)} won, ${count(trading.lost)} lost` : ''),
    figure('Profit factor', trading ? fixed(trading.profit_factor, 2) : NONE, trading ? `${money(trading.expectancy)} per trade` : ''),
    figure('Max drawdown', fall ? money(-fall.amount) : NONE, fall ? `${has(fall.fraction) ? percent(fall.fraction) + ', ' : ''}until ${minute(fall.trough)} UTC` : ''),
    figure('Predictions', count(sum('predictions')), models ? `${count(sum('outcomes_joined'))} with outcome` : ''),
    figure('Spans', count(performance && performance.count), performance ? `errors ${percent(performance.error_rate, 2)}` : ''),
    figure('Latency p95', performance && has(performance.p95_ms) ? fixed(performance.p95_ms, 1) + '\u2009ms' : NONE, 'all operations'),
  ];
}

// In the order of the page: what is asked first is seen first.
export const SECTIONS = [
  {id: 'findings', path: '/api/alerts?state=all&limit=100', draw: drawFindings},
  {id: 'trading', path: '/api/performance', draw: drawTrading},
  {id: 'models', path: '/api/ml/models', draw: drawModels},
  {id: 'drift', path: '/api/ml/drift', draw: drawDrift},
  {id: 'performance', path: '/api/tracing/performance', draw: drawPerformance},
  {id: 'traces', path: '/api/tracing/traces?limit=15', draw: drawTraces},
  {id: 'trades', path: '/api/trades?limit=15', draw: drawTrades},
  {id: 'ensembles', path: '/api/ml/ensembles', draw: drawEnsembles},
  {id: 'errors', path: '/api/tracing/errors?limit=20', draw: drawErrors},
];
