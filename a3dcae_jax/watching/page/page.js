// The live page of detect. It asks for small pieces again and again, each only once the one before
// has come, so that a slow browser asks less often.
'use strict';

const STATE_MS = 800;
const TIMELINE_MS = 5000;
const PICTURES_AT_ONCE = 3;
const PICTURE_MS = 160; // between two pictures of a camera
const TURN_MS = 60; // between two pictures of any cameras: drawing them takes time from detect
const FAULTS = {
  lost: 'lost, reconnecting', stalled: 'no frames', frozen: 'frozen', black: 'black',
  covered: 'covered', moved: 'moved', size: 'other size',
};
const STATES = {ok: 'ok', abnormal: 'abnormal', waiting: 'starting', ended: 'ended'};

const byId = (id) => document.getElementById(id);
const copyOf = (id) => byId(id).content.firstElementChild.cloneNode(true);
const clock = new Intl.DateTimeFormat(undefined, {timeStyle: 'medium'});
const shortClock = new Intl.DateTimeFormat(undefined, {timeStyle: 'short'});
const day = new Intl.DateTimeFormat(undefined, {dateStyle: 'medium'});
const number = new Intl.NumberFormat();

const cameras = new Map(); // number -> its tile
const strips = new Map(); // number -> its row of the timeline
const items = new Map(); // key -> its event in the list
let timeline = {events: [], step_s: 10, hours: 6, offset_s: 0};
const list = {first: 0, count: 0}; // place of the shown events
let lastRevision = -1;
let isLeaving = false; // signing out
let newest = null; // start of the newest event that was announced

function when(seconds) {
  const time = new Date(1000 * seconds);
  const isToday = time.toDateString() === new Date().toDateString();
  return isToday ? clock.format(time) : `${day.format(time)}, ${clock.format(time)}`;
}

const isQuiet = () => document.hidden || isLeaving;
const shown = (score) => (score === null || score === undefined ? '–' : score.toFixed(1));

async function ask(path, options) {
  const answer = await fetch(path, options);
  if (answer.status === 401) {
    location.assign('/login');
    throw new Error('no session');
  }
  if (!answer.ok) {
    const reason = await answer.json().catch(() => ({}));
    throw new Error(reason.error || `status ${answer.status}`);
  }
  return answer.json();
}

async function repeat(task, pauseMs) {
  for (;;) {
    if (!isQuiet()) {
      try {
        await task();
        byId('offline').hidden = true;
      } catch {
        if (byId('offline').hidden) {
          byId('offline').textContent =
            `No connection to detect since ${clock.format(new Date())}. Trying again.`;
          byId('offline').hidden = false;
        }
      }
    }
    await new Promise((done) => setTimeout(done, pauseMs));
  }
}

// Cameras

async function updateState() {
  const state = await ask('/api/state');
  byId('sign-out').hidden = !state.needs_token;
  byId('no-cameras').hidden = state.sources.length > 0;
  keepOnly(cameras, state.sources);
  for (const source of state.sources) {
    if (!cameras.has(source.number)) cameras.set(source.number, addCamera(source));
    showCamera(cameras.get(source.number), source);
  }
  summarise(state.sources);
  if (state.revision !== lastRevision) {
    lastRevision = state.revision;
    await Promise.all([updateEvents(), updateTimeline()]);
  }
}

function keepOnly(map, sources) {
  const numbers = new Set(sources.map((source) => source.number));
  for (const [key, entry] of map) {
    if (!numbers.has(key)) {
      entry.root.remove();
      map.delete(key);
    }
  }
}

function addCamera(source) {
  const root = copyOf('camera');
  byId('cameras').append(root);
  const image = root.querySelector('img');
  const camera = {root, image, source, isVisible: true, isLoading: false, askedMs: 0, has: null};
  image.addEventListener('load', () => {
    camera.isLoading = false;
    image.hidden = false;
    root.querySelector('.wait').hidden = true;
  });
  image.addEventListener('error', () => { camera.isLoading = false; });
  visibility.observe(root);
  root.camera = camera;
  return camera;
}

const visibility = new IntersectionObserver((entries) => {
  for (const entry of entries) entry.target.camera.isVisible = entry.isIntersecting;
});

const isFault = (state) => !(state in STATES);
const words = (state) => STATES[state] || FAULTS[state] || state;

function showCamera(camera, source) {
  camera.source = source;
  const {root} = camera;
  root.className = `camera card ${isFault(source.state) ? 'faulty' : source.state}`;
  root.querySelector('.state').textContent = words(source.state);
  root.querySelector('h3').textContent = source.name;
  root.querySelector('h3').title = source.shown;
  camera.image.alt = `Picture of ${source.name}`;
  root.querySelector('.value b').textContent = shown(source.score);
  root.querySelector('.value span').textContent = `threshold ${shown(source.threshold)}`;
  root.querySelector('.fault').hidden = !source.message;
  root.querySelector('.fault').textContent = source.message;
  const figures = [`${source.scored_per_s.toFixed(1)} frames/s`];
  if (source.latency_s !== null && source.scored_per_s > 0) {
    figures.push(`latency ${source.latency_s.toFixed(2)} s`);
  }
  figures.push(`${number.format(source.dropped)} dropped`);
  figures.push(`${number.format(source.events)} ${source.events === 1 ? 'event' : 'events'}`);
  if (source.lost_files) figures.push(`${number.format(source.lost_files)} files not written`);
  root.querySelector('.figures').replaceChildren(...figures.map((text) => {
    const figure = document.createElement('span');
    figure.textContent = text;
    return figure;
  }));
  const plot = root.querySelector('.plot');
  plot.setAttribute('aria-label', `Last scores of ${source.name}: now ${shown(source.score)}, ` +
    `threshold ${shown(source.threshold)}`);
  drawPlot(plot, source);
}

function summarise(sources) {
  const watched = sources.filter((source) => source.state !== 'ended');
  const abnormal = watched.filter((source) => source.state === 'abnormal');
  const faulty = watched.filter((source) => isFault(source.state));
  const names = (some) => some.map((source) => source.name).slice(0, 4).join(', ');
  let text = `${watched.length} ${watched.length === 1 ? 'source' : 'sources'}`;
  if (abnormal.length) text += `, abnormal: ${names(abnormal)}`;
  if (faulty.length) text += `, with a fault: ${names(faulty)}`;
  if (watched.length && !abnormal.length && !faulty.length) text += ', all normal';
  const summary = byId('summary');
  if (summary.textContent !== text) summary.textContent = text;
  summary.className = abnormal.length ? 'abnormal' : faulty.length ? 'faulty' : '';
  const title = abnormal.length ? `● ${abnormal.length} abnormal · detect` : 'detect';
  if (document.title !== title) document.title = title;
}

// One more picture is asked for: the oldest, unless too many are on their way.
function askForPicture() {
  if (isQuiet()) return;
  const now = performance.now();
  const all = [...cameras.values()];
  for (const camera of all) {
    if (camera.isLoading && now - camera.askedMs > 10000) camera.isLoading = false;
  }
  if (all.filter((camera) => camera.isLoading).length >= PICTURES_AT_ONCE) return;
  const due = all.filter((camera) => camera.isVisible && !camera.isLoading &&
    camera.source.picture !== null && now - camera.askedMs > PICTURE_MS && !isStill(camera));
  if (!due.length) return;
  const camera = due.reduce((a, b) => (a.askedMs <= b.askedMs ? a : b));
  camera.has = newestOf(camera);
  camera.askedMs = now;
  camera.isLoading = true;
  camera.image.src = `/pictures/${camera.source.number}?marks=${withMarks()}&n=${Math.round(now)}`;
}

const withMarks = () => (byId('marks').checked ? 1 : 0);
const newestOf = (camera) => `${camera.source.picture}/${withMarks()}`;

// A source without new frames has no new picture either.
function isStill(camera) {
  const isOver = ['ended', 'lost', 'stalled'].includes(camera.source.state);
  return isOver && camera.has === newestOf(camera);
}

// Drawing

function colours() {
  const style = getComputedStyle(document.documentElement);
  const get = (name) => style.getPropertyValue(`--${name}`).trim();
  return {calm: get('calm'), alarm: get('alarm'), idle: get('idle'), warn: get('warn'),
    line: get('line'), muted: get('muted')};
}

function prepared(canvas) {
  const style = getComputedStyle(canvas);
  const width = canvas.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const height = canvas.clientHeight;
  const scale = devicePixelRatio || 1;
  const size = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  const context = canvas.getContext('2d');
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return {context, width, height};
}

function drawPlot(canvas, source) {
  const {context, width, height} = prepared(canvas);
  const colour = colours();
  const points = source.points.map((point) => point ?? 0);
  const high = Math.max(1.6 * source.threshold, 1, ...points);
  const low = Math.min(0, ...points);
  const row = (score) => height - 3 - (height - 6) * (score - low) / (high - low);
  const limit = row(source.threshold);
  context.strokeStyle = colour.alarm;
  context.setLineDash([4, 4]);
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(0, limit);
  context.lineTo(width, limit);
  context.stroke();
  context.setLineDash([]);
  if (!points.length) return;
  const step = width / 119;
  const start = width - step * (points.length - 1);
  for (const [strokes, top, bottom] of
    [[colour.alarm, 0, limit], [colour.calm, limit, height - limit]]) {
    context.save();
    context.beginPath();
    context.rect(0, top, width, bottom);
    context.clip();
    context.beginPath();
    points.forEach((point, index) => context.lineTo(start + step * index, row(point)));
    context.strokeStyle = strokes;
    context.lineWidth = 1.75;
    context.lineJoin = 'round';
    context.stroke();
    context.lineTo(width, row(low));
    context.lineTo(start, row(low));
    context.globalAlpha = .14;
    context.fillStyle = strokes;
    context.fill();
    context.restore();
  }
}

// Timeline

const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`).value;

async function updateTimeline() {
  const last = [...strips.values()].map((strip) => strip.scores.at(-1)?.[0] ?? 0);
  const isNew = strips.size < cameras.size || !strips.size;
  const after = isNew ? 0 : Math.min(...last);
  const found = await ask(`/api/timeline?after=${after}`);
  timeline = {...found, offset_s: found.time - Date.now() / 1000};
  keepOnly(strips, found.sources);
  for (const source of found.sources) {
    if (!strips.has(source.number)) strips.set(source.number, addStrip(source));
    const strip = strips.get(source.number);
    strip.threshold = source.threshold; // it may depend on the hour
    const before = strip.scores.filter((value) => value[0] < after);
    const oldest = (found.time - 3600 * found.hours) / found.step_s;
    strip.scores = [...before, ...source.scores].filter((value) => value[0] >= oldest);
  }
  drawTimeline();
}

function addStrip(source) {
  const root = copyOf('strip');
  root.querySelector('.name').textContent = source.name;
  const strip = {root, name: source.name, scores: []};
  byId('strips').insertBefore(root, byId('axis'));
  const canvas = root.querySelector('canvas');
  canvas.addEventListener('pointermove', (event) => readOut(strip, event));
  canvas.addEventListener('pointerleave', () => { byId('readout').textContent = ''; });
  canvas.addEventListener('click', (event) => openNearest(strip, event));
  return strip;
}

const spanS = () => 3600 * Number(chosen('range'));
const nowS = () => Date.now() / 1000 + timeline.offset_s;

function drawTimeline() {
  for (const strip of strips.values()) drawStrip(strip);
  drawAxis();
}

function drawStrip(strip) {
  const canvas = strip.root.querySelector('canvas');
  const {context, width, height} = prepared(canvas);
  const colour = colours();
  const [end, span] = [nowS(), spanS()];
  const x = (time) => width * (1 - (end - time) / span);
  const scores = strip.scores.filter((value) => value[0] * timeline.step_s > end - span);
  const high = Math.max(1.6 * strip.threshold, 1, ...scores.map((value) => value[1] ?? 0));
  const top = 9;
  const row = (score) => Math.min(height - 1, height - (height - top) * Math.max(0, score) / high);
  const bar = Math.max(1, width * timeline.step_s / span);
  context.fillStyle = colour.line;
  context.fillRect(0, height - 1, width, 1);
  for (const [index, score] of scores) {
    context.fillStyle = score >= strip.threshold ? colour.alarm : colour.calm;
    const left = x(index * timeline.step_s);
    context.fillRect(left, row(score ?? 0), Math.max(1, bar - (bar > 4 ? 1 : 0)), height);
  }
  context.strokeStyle = colour.alarm;
  context.globalAlpha = .55;
  context.setLineDash([3, 4]);
  context.beginPath();
  context.moveTo(0, row(strip.threshold));
  context.lineTo(width, row(strip.threshold));
  context.stroke();
  context.setLineDash([]);
  context.globalAlpha = 1;
  let count = 0;
  for (const [, source, kind, start, stop, isOpen, isNormal] of timeline.events) {
    if (source !== strip.name || (stop ?? end) < end - span) continue;
    count += kind === 'abnormal';
    context.fillStyle = kind !== 'abnormal' ? colour.warn : isNormal ? colour.idle : colour.alarm;
    const left = x(start);
    const right = x(stop ?? (isOpen ? end : start));
    context.fillRect(left, 1, Math.max(4, right - left), 5);
  }
  canvas.setAttribute('aria-label', `${strip.name}: ${count} events in this time`);
}

function drawAxis() {
  const {context, width, height} = prepared(byId('axis').querySelector('canvas'));
  const [end, span] = [nowS(), spanS()];
  const steps = [300, 600, 900, 1800, 3600, 7200];
  const step = steps.find((each) => width * each / span > 80) || 7200;
  context.fillStyle = colours().muted;
  context.font = '12px system-ui, sans-serif';
  context.textAlign = 'center';
  const shift = 60 * new Date().getTimezoneOffset();
  const first = Math.ceil((end - span - shift) / step) * step + shift;
  for (let time = first; time <= end; time += step) {
    const left = width * (1 - (end - time) / span);
    if (left < 22 || left > width - 22) continue;
    context.fillText(shortClock.format(new Date(1000 * time)), left, height - 5);
  }
}

function timeAt(event) {
  const box = event.target.getBoundingClientRect();
  return nowS() - spanS() * (1 - (event.clientX - box.left) / box.width);
}

function readOut(strip, event) {
  const time = timeAt(event);
  const index = Math.floor(time / timeline.step_s);
  const value = strip.scores.find((each) => each[0] === index);
  const score = value ? `score ${shown(value[1])}` : 'no score';
  byId('readout').textContent = `${strip.name}, ${clock.format(new Date(1000 * time))}: ${score}`;
}

function openNearest(strip, event) {
  const time = timeAt(event);
  const reach = spanS() * 8 / event.target.clientWidth;
  const near = timeline.events.find(([, source, kind, start, stop]) => source === strip.name &&
    kind === 'abnormal' && time > start - reach && time < (stop ?? start) + reach);
  if (near) openViewer(near[0]);
}

// Events

async function updateEvents() {
  const query = new URLSearchParams({
    source: byId('source').value, kind: chosen('kind'), first: list.first,
  });
  const found = await ask(`/api/events?${query}`);
  list.count = found.count;
  announce(found);
  showChoices(found.sources);
  showEvents(found);
}

// A clip is complete some seconds after its event.
const awaitsClip = () => [...items.values()].some(({event}) =>
  event.has_still && !event.has_clip && nowS() - (event.end ?? nowS()) < 30);

function announce(found) {
  const event = found.first ? null : found.events.find((each) => each.kind === 'abnormal');
  const start = event ? event.start : 0;
  if (newest !== null && event && start > newest) {
    byId('news').textContent =
      `New event of ${event.source} at ${when(event.start)}, score ${shown(event.score)}`;
  }
  newest = Math.max(newest ?? 0, start);
}

function showChoices(names) {
  const select = byId('source');
  const present = [...select.options].slice(1).map((option) => option.value);
  if (present.join('\n') === names.join('\n')) return;
  const value = select.value;
  select.replaceChildren(select.options[0], ...names.map((name) => new Option(name, name)));
  select.value = names.includes(value) ? value : '';
}

function showEvents(found) {
  const root = byId('list');
  const keys = new Set(found.events.map((event) => event.key));
  for (const [key, item] of items) {
    if (!keys.has(key)) {
      item.root.remove();
      items.delete(key);
    }
  }
  found.events.forEach((event, index) => {
    if (!items.has(event.key)) items.set(event.key, addEvent(event));
    const item = items.get(event.key);
    showEvent(item, event);
    const present = root.children[index];
    if (present !== item.root) root.insertBefore(item.root, present || null);
  });
  byId('no-events').hidden = found.total > 0;
  byId('newer').disabled = found.first === 0;
  byId('older').disabled = found.first + found.count >= found.total;
  const last = found.first + found.events.length;
  byId('place').textContent = found.total
    ? `${found.first + 1}–${last} of ${number.format(found.total)}` : '';
}

function addEvent(event) {
  const root = copyOf('event');
  const item = {root, event};
  if (event.kind !== 'abnormal') {
    root.classList.add('fault');
    root.querySelector('.thumb').remove();
    root.querySelector('.actions').remove();
    return item;
  }
  for (const name of ['.thumb', '.watch']) {
    root.querySelector(name).addEventListener('click', () => openViewer(event.key));
  }
  root.querySelector('.mark').addEventListener('click', () => mark(item));
  return item;
}

function showEvent(item, event) {
  const {root} = item;
  const before = item.event;
  item.event = event;
  const title = root.querySelector('h3');
  title.textContent = event.source;
  if (event.kind !== 'abnormal') title.append(`: ${words(event.kind)}`);
  if (event.is_open) title.append(tag('now', 'open'));
  if (event.is_normal) title.append(tag('marked as normal', ''));
  const frame = event.frame === null ? '' : `, frame\u00a0${number.format(event.frame)}`;
  root.querySelector('.when').textContent = when(event.start) + frame;
  const facts = root.querySelector('.facts');
  if (event.kind !== 'abnormal') {
    facts.textContent = event.message;
    return;
  }
  const score = document.createElement('b');
  score.textContent = shown(event.score);
  facts.replaceChildren('score ', score, `, threshold ${shown(event.threshold)}`);
  root.classList.toggle('normal', event.is_normal);
  const image = root.querySelector('img');
  if (event.has_still && (before.score !== event.score || image.hidden)) {
    image.src = `/stills/${event.key}?s=${event.score}`;
    image.hidden = false;
  }
  const name = `${event.source}, ${when(event.start)}`;
  root.querySelector('.thumb').setAttribute('aria-label', `Open the event of ${name}`);
  const watch = root.querySelector('.watch');
  watch.textContent = event.has_clip ? 'Clip' : 'Picture';
  watch.setAttribute('aria-label', `${watch.textContent} of ${name}`);
  const button = root.querySelector('.mark');
  button.disabled = event.is_open;
  button.title = event.is_open ? 'An event can be marked once it has ended' : '';
  button.textContent = event.is_normal ? 'Undo' : 'Not abnormal';
  button.setAttribute('aria-label', event.is_normal
    ? `Undo: the event of ${name} is abnormal` : `Not abnormal: ${name}`);
}

function tag(text, kind) {
  const element = document.createElement('span');
  element.className = `tag ${kind}`;
  element.textContent = text;
  return element;
}

async function mark(item) {
  const isNormal = !item.event.is_normal;
  try {
    const event = await ask(`/api/events/${item.event.key}/feedback`, {
      method: 'POST',
      headers: {'Content-Type': 'application/json'},
      body: JSON.stringify({normal: isNormal}),
    });
    showEvent(item, event);
    byId('news').textContent = isNormal ? 'Marked as normal' : 'The mark was removed';
    await updateTimeline();
  } catch (error) {
    item.root.querySelector('.facts').textContent = `The mark was not kept: ${error.message}`;
  }
}

async function openViewer(key) {
  const event = await ask(`/api/events/${key}`);
  byId('viewer-title').textContent = `${event.source}, ${when(event.start)}`;
  byId('facts').textContent = `Highest score ${shown(event.score)}, threshold ` +
    `${shown(event.threshold)}, noticed in frame ${number.format(event.frame)}` +
    (event.is_open ? '. The event lasts: its clip comes about 2 s after its end.' : '');
  const parts = [];
  if (event.has_clip) {
    const video = document.createElement('video');
    Object.assign(video, {controls: true, autoplay: true, muted: true, loop: true});
    video.playsInline = true;
    video.src = `/clips/${event.key}`;
    parts.push(video);
  } else if (event.has_still) {
    const image = new Image();
    image.alt = `Still of the event of ${event.source}`;
    image.src = `/stills/${event.key}?s=${event.score}`;
    parts.push(image);
  } else {
    parts.push('There is neither a clip nor a still.');
  }
  byId('media').replaceChildren(...parts);
  byId('viewer').showModal();
}

function turn(step) {
  list.first = Math.max(0, list.first + step * list.count);
  updateEvents().then(() => byId('events').scrollIntoView(), () => {});
}

function refilter() {
  list.first = 0;
  updateEvents().catch(() => {});
}

// Start

const axis = copyOf('strip');
axis.id = 'axis';
axis.classList.add('axis');
axis.querySelector('canvas').setAttribute('aria-hidden', 'true');
byId('strips').append(axis);
byId('sign-out').addEventListener('submit', () => { isLeaving = true; });
byId('newer').addEventListener('click', () => turn(-1));
byId('older').addEventListener('click', () => turn(1));
byId('source').addEventListener('change', refilter);
byId('kind').addEventListener('change', refilter);
byId('range').addEventListener('change', drawTimeline);
byId('close').addEventListener('click', () => byId('viewer').close());
byId('viewer').addEventListener('close', () => byId('media').replaceChildren());
byId('viewer').addEventListener('click', (event) => {
  if (event.target === byId('viewer')) byId('viewer').close();
});
const redraw = () => {
  for (const {root, source} of cameras.values()) drawPlot(root.querySelector('.plot'), source);
  drawTimeline();
};
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
addEventListener('resize', redraw);
repeat(updateState, STATE_MS);
repeat(async () => {
  await updateTimeline();
  if (awaitsClip()) await updateEvents();
}, TIMELINE_MS);
setInterval(askForPicture, TURN_MS);
