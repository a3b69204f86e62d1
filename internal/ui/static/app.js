// Live updates, local times and copy buttons. The console works without them.
(() => {
  'use strict';
  const $ = (sel, root = document) => root.querySelectorAll(sel);

  // Times are shown in the reader's time zone and updated.
  const units = [[86400 * 2, 86400, ' d'], [3600, 3600, ' h'], [60, 60, ' min'], [0, 1, ' s']];
  const ago = (t) => {
    const d = (Date.now() - t) / 1000, s = Math.abs(d);
    if (d >= 0 && s < 1) return 'now';
    const [, per, name] = units.find(([from]) => s >= from);
    const text = Math.floor(s / per) + name;
    return d < 0 ? 'in ' + text : text + ' ago';
  };
  const two = (n, w = 2) => String(n).padStart(w, '0');
  const utc = (() => { try { return localStorage.getItem('gaff.zone') === 'utc'; } catch { return false; } })();
  const local = (d) => utc ? d.toISOString().replace('T', ' ').replace('Z', '') : `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${two(d.getMilliseconds(), 3)}`;
  const times = () => {
    for (const el of $('time')) {
      const d = new Date(el.dateTime);
      if (isNaN(d) || el.dataset.tick === 'utc') continue;
      if (el.dataset.tick) {
        const day = el.dataset.tick.endsWith('d') && el.dataset.tick !== '1d';
        el.textContent = day ? d.toLocaleDateString('en-GB', {day: 'numeric', month: 'short', timeZone: utc ? 'UTC' : undefined}) : utc ? d.toISOString().slice(11, 16) : two(d.getHours()) + ':' + two(d.getMinutes());
      } else if (el.classList.contains('exact')) {
        if (!el.title) { el.title = el.textContent; el.textContent = local(d); }
      } else {
        const text = ago(d.getTime());
        if (el.textContent !== text) el.textContent = text;
        if (!el.dataset.said) { el.dataset.said = '1'; el.title = local(d) + (utc ? ' UTC' : ''); }
      }
    }
  };

  // Buttons that copy.
  const copyButtons = () => {
    for (const el of $('[data-copy]')) {
      if (el.dataset.ready) continue;
      el.dataset.ready = '1';
      const b = document.createElement('button');
      b.type = 'button';
      b.className = 'copy';
      b.textContent = 'Copy';
      b.setAttribute('aria-label', 'Copy ' + (el.dataset.copy.length > 60 ? 'the text' : el.dataset.copy));
      b.addEventListener('click', async () => {
        try { await navigator.clipboard.writeText(el.dataset.copy); } catch {
          const s = getSelection(); s.selectAllChildren(el); document.execCommand('copy'); s.removeAllRanges();
        }
        b.textContent = 'Copied';
        setTimeout(() => { b.textContent = 'Copy'; }, 1500);
      });
      el.after(b);
    }
  };

  // Keys: / and Ctrl+K (⌘K) open the palette, ? the list of keys; g and a letter go to a page; j and
  // k go through the rows, x chooses one. palette.js is loaded when it is first needed.
  const palette = (what) => {
    if (window.gaffPalette) { window.gaffPalette(what); return; }
    const s = document.createElement('script');
    s.src = document.body.dataset.palette;
    s.onload = () => window.gaffPalette(what);
    document.head.append(s);
  };
  const rows = () => [...$('main table.list tbody tr, main .gallery li, main a.card, main .sources > li')]
    .map((row) => row.matches('a') ? row : row.querySelector('td.name a, figcaption a, h2 a') ?? row.querySelector('a[href]'))
    .filter((a) => a?.checkVisibility());
  const step = (by) => {
    const all = rows(), on = document.activeElement;
    let at = all.findIndex((a) => a === on || a.closest('tr, li')?.contains(on));
    at = at < 0 ? 0 : Math.min(Math.max(at + by, 0), all.length - 1);
    all[at]?.focus();
    all[at]?.scrollIntoView({block: 'nearest'});
    return all.length > 0;
  };
  const wrote = (el) => el.closest('textarea, select, [contenteditable], input:not([type=checkbox], [type=radio], [type=button])');
  let went = 0;
  const keys = (e) => {
    if ((e.ctrlKey || e.metaKey) && !e.altKey && !e.shiftKey && e.key.toLowerCase() === 'k') {
      e.preventDefault(); palette('');
      return;
    }
    if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || wrote(e.target) || document.querySelector('dialog[open]')) return;
    const key = CSS.escape(e.key), neighbour = document.querySelector(`a[data-key="${key}"]`);
    const page = Date.now() - went < 1500 && document.querySelector(`.side a[data-go="${key}"]`);
    went = 0;
    if (page) { e.preventDefault(); page.click(); }
    else if (e.key === '/') { e.preventDefault(); palette(''); }
    else if (e.key === '?') { e.preventDefault(); palette('?'); }
    else if (e.key === 'g') went = Date.now();
    else if (neighbour) neighbour.click();
    else if ((e.key === 'j' || e.key === 'k') && step(e.key === 'j' ? 1 : -1)) e.preventDefault();
    else if (e.key === 'x') document.activeElement.closest('tr, li')?.querySelector('[name=id]')?.click();
  };
  addEventListener('keydown', keys);
  gaffEarly().forEach(keys); // start.js
  document.querySelector('[data-find] input')?.addEventListener('pointerdown', (e) => { e.preventDefault(); palette(e.target.value); });
  // Pages of things are remembered for the palette, until someone else logs in.
  const parts = location.pathname.split('/').filter(Boolean);
  if (parts.length === 2 && document.querySelector('main .summary, main .stage, main .columns')) {
    try {
      const was = JSON.parse(localStorage.getItem('gaff.recent') ?? '{}'), who = document.body.dataset.who;
      const list = (was.who === who ? was.list : []).filter((r) => r.page !== location.pathname);
      localStorage.setItem('gaff.recent', JSON.stringify({who, list: [{page: location.pathname, name: document.title.replace(/ · gaff$/, ''), kind: parts[0]}, ...list].slice(0, 8)}));
    } catch { /* no storage: nothing is remembered */ }
  }
  document.querySelector('form[action="/logout"]')?.addEventListener('submit', () => { try { localStorage.removeItem('gaff.recent'); } catch { /* nothing was remembered */ } });

  // Rows are chosen; the bar below says how many.
  const chosen = () => {
    for (const bar of $('[data-selected]')) {
      const n = bar.closest('form').querySelectorAll('[name=id]:checked').length;
      bar.toggleAttribute('data-chosen', n > 0);
      bar.firstElementChild.textContent = n ? `With the ${n} chosen ${bar.dataset.selected}:` : `Choose ${bar.dataset.selected} to act on them`;
      for (const el of bar.querySelectorAll('button')) el.disabled = n === 0;
    }
  };
  addEventListener('change', (e) => { if (e.target.matches('[name=id]')) chosen(); });

  // JSON is folded, searched, and its paths are copied. The text stays as it was: lines are only
  // wrapped, so that long numbers keep their digits.
  const jsonViews = () => {
    for (const pre of $('pre.body[data-json]:not([data-viewed])')) {
      pre.dataset.viewed = '1';
      const lines = [[]];
      for (const node of pre.childNodes) {
        if (node.nodeType === 3) {
          node.data.split('\n').forEach((text, i) => { if (i) lines.push([]); if (text) lines.at(-1).push(document.createTextNode(text)); });
        } else lines.at(-1).push(node);
      }
      while (lines.length && !lines.at(-1).map((n) => n.textContent).join('').trim()) lines.pop();
      while (lines.length && !lines[0].map((n) => n.textContent).join('').trim()) lines.shift();
      const rows = [], stack = [];
      for (const parts of lines) {
        const row = document.createElement('span');
        row.className = 'ln';
        row.append(...parts);
        const text = row.textContent.trim(), above = stack.at(-1);
        if (/^[}\]]/.test(text)) {
          const open = stack.pop();
          if (open) { open.end = rows.length; row.path = open.row.path; }
        } else if (above) {
          const key = row.querySelector('.k')?.textContent;
          row.path = above.row.path + (key === undefined ? `[${above.n++}]` : /^"[A-Za-z_$][\w$]*"$/.test(key) ? '.' + key.slice(1, -1) : `[${key}]`);
        } else row.path = '$';
        rows.push(row);
        if (/[{[]$/.test(text)) { const open = {row, at: rows.length - 1, n: 0, list: text.endsWith('['), end: 0}; row.open = open; stack.push(open); }
      }
      const fold = (row, shut) => {
        const {at, end} = row.open, b = row.querySelector('.fold');
        row.shut = shut; b.textContent = shut ? '▸' : '▾'; b.setAttribute('aria-expanded', String(!shut));
        row.toggleAttribute('data-shut', shut);
        for (let i = at + 1; i < end; i++) {
          rows[i].hidden = shut;
          if (!shut && rows[i].shut) i = rows[i].open.end - 1;
        }
      };
      for (const row of rows) {
        if (row.open && row.open.end > row.open.at + 1) {
          const b = document.createElement('button');
          b.type = 'button'; b.className = 'fold';
          b.setAttribute('aria-label', 'Fold ' + row.path);
          b.addEventListener('click', () => fold(row, !row.shut));
          row.prepend(b);
          fold(row, row.open.list && row.open.end - row.open.at > 60);
        }
        for (const s of row.querySelectorAll('.s')) {
          const address = s.textContent.slice(1, -1);
          if (/^https?:\/\/[^\s"\\]+$/.test(address)) {
            const a = document.createElement('a');
            a.href = address; a.rel = 'noreferrer noopener'; a.target = '_blank'; a.textContent = s.textContent; a.title = address;
            if (address.length > 120) a.textContent = s.textContent.slice(0, 90) + '…"';
            s.replaceChildren(a);
          }
        }
      }
      pre.replaceChildren(...rows);
      if (rows.length < 4) continue;
      const tools = document.createElement('div');
      tools.className = 'jsontools';
      tools.innerHTML = '<input type="search" placeholder="Find" aria-label="Find in this JSON"><button type="button">Fold</button><button type="button">Unfold</button><code role="status"></code>';
      const [find, shut, open, said] = tools.children;
      const all = (to) => { for (const row of rows.toReversed()) if (row.open && row.querySelector('.fold') && row !== rows[0]) fold(row, to); };
      shut.addEventListener('click', () => all(true));
      open.addEventListener('click', () => all(false));
      let at = -1;
      const look = (next) => {
        const text = find.value.toLowerCase(), hits = rows.filter((row) => text && row.textContent.toLowerCase().includes(text));
        for (const row of rows) row.classList.toggle('hit', hits.includes(row));
        said.textContent = text ? `${hits.length} found` : '';
        if (!hits.length) return;
        at = next ? (at + 1) % hits.length : 0;
        for (const row of rows) if (row.shut && row.open.at < rows.indexOf(hits[at]) && rows.indexOf(hits[at]) < row.open.end) fold(row, false);
        pre.scrollTop = hits[at].offsetTop - pre.offsetTop - 60;
      };
      find.addEventListener('input', () => look(false));
      find.addEventListener('keydown', (e) => { if (e.key === 'Enter') { e.preventDefault(); look(true); } });
      pre.addEventListener('click', (e) => {
        const row = e.target.closest('.ln');
        if (!row || !e.target.matches('.k')) return;
        said.textContent = row.path;
        navigator.clipboard?.writeText(row.path).then(() => { said.textContent = row.path + ' copied'; }, () => {});
      });
      pre.before(tools);
    }
  };

  // 3D models are drawn by viewer.js, which is loaded when the first is shown. Large ones wait for a click.
  const draw3D = (el) => {
    if (!el.dataset.model || el.dataset.begun) return;
    const status = el.querySelector('[role=status]'), load = el.querySelector('[data-load]');
    const start = () => {
      el.dataset.begun = '1';
      load?.remove();
      status.textContent = 'Loading the 3D view…';
      import(document.body.dataset.viewer).then((m) => m.view(el), () => { status.textContent = 'No 3D view: its script could not be loaded.'; });
    };
    if (!load) { start(); return; }
    load.hidden = false;
    load.addEventListener('click', start);
  };
  const models = () => { for (const el of $('.model[data-model]')) draw3D(el); };

  // Files open in a lightbox, with arrows and zoom; videos play while the pointer is over them.
  let light = null, shown = null;
  const figures = () => [...$('figure[data-light]')];
  const turn = (by) => {
    const all = figures(), at = all.indexOf(shown);
    if (all.length) show(all[(at + by + all.length) % all.length]);
  };
  const fill = (...el) => {
    light.firstChild.firstChild?.dispatchEvent(new Event('gaff-end')); // a 3D view frees its memory
    light.firstChild.replaceChildren(...el);
  };
  const show = (figure) => {
    if (!light) {
      light = document.createElement('dialog');
      light.className = 'light';
      light.setAttribute('aria-label', 'File');
      light.innerHTML = '<div class="box"></div><div class="bar"><button type="button" data-by="-1">← Previous</button><button type="button" data-by="1">Next →</button><p></p><a>Open page</a><button type="button" data-shut>Close</button></div>';
      light.addEventListener('click', (e) => {
        const by = e.target.dataset.by;
        if (by) turn(Number(by));
        else if (e.target.matches('img')) light.classList.toggle('zoomed');
        else if (e.target.matches('[data-shut], .box')) light.close();
      });
      light.addEventListener('close', () => { fill(); shown?.querySelector('figcaption a')?.focus(); });
      light.addEventListener('keydown', (e) => {
        if (e.target.matches('video, audio, canvas')) return;
        if (e.key === 'ArrowLeft') turn(-1);
        else if (e.key === 'ArrowRight') turn(1);
        else if (e.key === 'z') light.classList.toggle('zoomed');
      });
      document.body.append(light);
    }
    shown = figure;
    const kind = figure.dataset.light;
    const el = kind === 'model' ? figure.querySelector('template').content.firstElementChild.cloneNode(true) : document.createElement(kind === 'image' ? 'img' : kind);
    if (kind !== 'model') el.src = figure.dataset.full;
    if (kind === 'image') el.alt = figure.querySelector('img')?.alt ?? ''; else if (kind !== 'model') { el.controls = true; el.autoplay = true; }
    const page = figure.querySelector('figcaption a');
    light.classList.remove('zoomed');
    fill(el);
    light.querySelector('.bar p').textContent = figure.querySelector('.prompt')?.textContent.trim() || page?.textContent || '';
    light.querySelector('.bar a').href = page?.href ?? '';
    if (!light.open) light.showModal();
    if (kind === 'model') draw3D(el);
    light.querySelector('[data-by="1"]').focus();
  };
  addEventListener('click', (e) => {
    const frame = e.target.closest('figure[data-light] .frame');
    if (!frame || e.ctrlKey || e.metaKey || e.shiftKey || e.target.closest('audio')) return;
    e.preventDefault();
    show(frame.closest('figure'));
  });
  const hover = () => {
    for (const video of $('.gallery video[controls]')) {
      video.removeAttribute('controls');
      video.muted = true; video.loop = true; video.tabIndex = 0;
      video.addEventListener('pointerenter', () => video.play().catch(() => {}));
      video.addEventListener('pointerleave', () => video.pause());
      video.addEventListener('keydown', (e) => { if (e.key === 'Enter') show(video.closest('figure')); });
    }
  };

  // Filters apply when a value is chosen.
  for (const form of $('form[data-auto]')) {
    form.addEventListener('change', (e) => { if (e.target.matches('select, [type=checkbox]')) form.requestSubmit(); });
    form.addEventListener('submit', () => {
      for (const el of form.elements) if (el.name && !el.value) el.disabled = true; // keeps the URL short
    });
  }
  addEventListener('pageshow', () => { for (const el of $('form[data-auto] :disabled')) el.disabled = false; });

  // The page follows the stream of changes and redraws #live, at most four times a second.
  let source = null, last = '', due = 0, busy = false, paused = false, missed = 0;
  const live = () => document.getElementById('live');
  const draw = () => {
    const el = live();
    due = 0;
    if (!el?.dataset.live || busy || paused || document.hidden || window.gaffHold?.()) return;
    busy = true;
    htmx.trigger(el, 'gaff-changed');
  };
  addEventListener('gaff-draw', () => { if (live()?.dataset.live) htmx.trigger(live(), 'gaff-changed'); });
  const changed = () => {
    if (paused) { missed++; tail(); return; }
    if (!due) due = setTimeout(draw, busy ? 1000 : 250);
  };
  const connect = () => {
    const kinds = live()?.dataset.live;
    if (!kinds || source || document.hidden) return;
    last ||= live().dataset.seen;
    source = new EventSource('/api/v1/stream?kinds=' + kinds + '&inner=true' + (last ? '&lastEventId=' + encodeURIComponent(last) : ''));
    for (const kind of [...kinds.split(','), 'reset']) {
      source.addEventListener(kind, (e) => { last = e.lastEventId || last; changed(); });
    }
    source.onerror = () => { if (source?.readyState === 2) { source = null; setTimeout(connect, 5000); } tail(); };
    source.onopen = tail;
  };
  // A hidden page closes its connection: browsers allow six per host.
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) { source?.close(); source = null; } else { connect(); changed(); }
  });
  addEventListener('pagehide', () => { source?.close(); source = null; });
  document.addEventListener('htmx:finally:request', () => { busy = false; });
  document.addEventListener('htmx:after:swap', () => {
    busy = false;
    times(); copyButtons(); tail(); chosen(); hover(); models(); jsonViews();
    if (!live()?.dataset.live) { source?.close(); source = null; }
  });

  // A button pauses the live list.
  function tail() {
    const el = document.querySelector('[data-tail]');
    if (!el) return;
    el.hidden = false;
    let b = el.querySelector('button');
    if (!b) {
      b = document.createElement('button');
      b.type = 'button';
      b.addEventListener('click', () => {
        paused = !paused;
        if (!paused) { missed = 0; changed(); }
        tail();
      });
      el.replaceChildren(b);
    }
    b.className = paused ? 'tailing paused' : 'tailing';
    b.setAttribute('aria-pressed', String(paused));
    b.textContent = paused ? (missed ? `Paused · ${missed} new` : 'Paused') : (source?.readyState === 1 ? 'Live' : 'Connecting');
    b.title = paused ? 'Resume' : 'Pause the list';
  }

  times(); copyButtons(); tail(); chosen(); hover(); models(); jsonViews(); connect();
  setInterval(times, 5000);
})();
