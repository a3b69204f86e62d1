// Tables and plots: sorting, columns, rows that are links, new rows on demand, a crosshair. The
// console works without them.
(() => {
  'use strict';
  const $ = (sel, root = document) => root.querySelectorAll(sel);
  const saved = (key, value) => {
    try {
      if (value !== undefined) localStorage.setItem('gaff.' + key, value);
      return localStorage.getItem('gaff.' + key) ?? '';
    } catch { return ''; }
  };
  const {page, label, hidden, columns} = gaffTables; // start.js
  const cell = (row, i) => row.children[i];
  const value = (td) => {
    const time = td?.querySelector('time');
    if (time) return Date.parse(time.dateTime);
    const text = td?.textContent.trim() ?? '', n = /^[+~]?(about )?-?[\d,.]+/.exec(text);
    if (!n) return text.toLowerCase();
    const unit = {'µs': 1e-6, ms: 1e-3, s: 1, min: 60, h: 3600, d: 86400, KB: 1e3, MB: 1e6, GB: 1e9}[/^[^A-Za-zµ]*([A-Za-zµ]+)?/.exec(text)?.[1]] ?? 1;
    return parseFloat(n[0].replace(/[^\d.-]/g, '')) * unit;
  };

  // The rows of the page are sorted by a heading.
  const sorted = new Map(); // by the table's label
  const sort = (table) => {
    const by = sorted.get(label(table));
    if (!by) return;
    const body = table.tBodies[0], rows = [...body.rows];
    rows.forEach((row, i) => { row.was ??= i; });
    rows.sort((a, b) => {
      if (!by.way) return a.was - b.was;
      const x = value(cell(a, by.at)), y = value(cell(b, by.at));
      return (x < y ? -1 : x > y ? 1 : 0) * by.way;
    });
    body.append(...rows);
    [...table.tHead.rows[0].cells].forEach((th, i) => {
      if (i === by.at && by.way) th.setAttribute('aria-sort', by.way > 0 ? 'ascending' : 'descending'); else th.removeAttribute('aria-sort');
    });
  };

  // Columns can be hidden, and rows be made lower.
  const viewMenu = (table) => {
    const scroll = table.closest('.scroll');
    if (!scroll || scroll.previousElementSibling?.matches('.view') || table.tBodies[0].rows.length < 3) return;
    const menu = document.createElement('details');
    menu.className = 'view';
    menu.innerHTML = '<summary>View</summary><div></div>';
    const add = (text, on, change) => {
      const line = document.createElement('label'), box = document.createElement('input');
      box.type = 'checkbox'; box.checked = on;
      box.addEventListener('change', () => change(box.checked));
      line.append(box, ' ' + text);
      menu.lastChild.append(line);
    };
    add('Compact rows', document.documentElement.dataset.rows === 'compact', (on) => {
      document.documentElement.dataset.rows = saved('rows', on ? 'compact' : 'wide');
    });
    for (const th of table.tHead.rows[0].cells) {
      if (!th.dataset.name || th.matches('.pick')) continue;
      add(th.dataset.name, !hidden(table).has(th.dataset.name), (on) => {
        const not = hidden(table);
        if (on) not.delete(th.dataset.name); else not.add(th.dataset.name);
        saved(`columns.${page}.${label(table)}`, [...not].join('|'));
        columns(table);
      });
    }
    scroll.before(menu);
  };

  const tables = () => {
    for (const table of $('table.list')) {
      if (!table.tHead || !table.tBodies[0]) continue;
      [...table.tHead.rows[0].cells].forEach((th, i) => {
        const name = th.textContent.trim();
        th.dataset.name ||= name;
        if (th.matches('.pick')) {
          if (th.querySelector('input')) return;
          const all = document.createElement('input');
          all.type = 'checkbox';
          all.setAttribute('aria-label', 'Choose all rows of the page');
          all.addEventListener('change', () => {
            for (const box of $('[name=id]', table)) box.checked = all.checked;
            table.querySelector('[name=id]')?.dispatchEvent(new Event('change', {bubbles: true}));
          });
          th.replaceChildren(all);
        } else if (!th.querySelector('button, .sr') && name) {
          const b = document.createElement('button');
          b.type = 'button'; b.className = 'sort'; b.textContent = name;
          b.addEventListener('click', () => {
            const by = sorted.get(label(table));
            sorted.set(label(table), {at: i, way: by?.at === i ? (by.way === 1 ? -1 : by.way === -1 ? 0 : 1) : 1});
            sort(table);
          });
          th.replaceChildren(b);
        }
      });
      // On a phone rows are cards: numbers say what they count.
      const names = [...table.tHead.rows[0].cells].map((th) => th.dataset.name);
      for (const row of table.tBodies[0].rows) {
        for (const [i, td] of [...row.cells].entries()) if (td.matches('.num') && names[i]) td.dataset.label = names[i];
      }
      viewMenu(table); columns(table); sort(table);
    }
  };

  // A click on a row is one on its link.
  addEventListener('click', (e) => {
    const row = e.target.closest('table.list tbody tr');
    if (!row || e.target.closest('a, button, input, summary, details, label, [data-copy]') || getSelection()?.toString()) return;
    const a = row.querySelector('td.name a');
    if (!a) return;
    if (e.ctrlKey || e.metaKey) open(a.href); else a.click();
  });

  // While someone aims at the list, new rows wait behind a button; known rows are renewed in place.
  const aiming = () => {
    const list = document.querySelector('#live table.list');
    return !!list && !!document.querySelector('[data-tail]') &&
      (scrollY > 60 || list.matches(':hover') || list.contains(document.activeElement) || !!list.querySelector('[name=id]:checked') || !!sorted.get(label(list))?.way);
  };
  let looking = false;
  const look = async () => {
    if (looking) return;
    looking = true;
    try {
      const res = await fetch(location.href, {headers: {'HX-Request': 'true'}});
      if (!res.ok) return;
      const fresh = new DOMParser().parseFromString(await res.text(), 'text/html');
      let more = 0;
      for (const row of $('#live table.list tbody tr[id]', fresh)) {
        const known = document.getElementById(row.id);
        if (!known) { more++; continue; }
        const box = known.querySelector('[name=id]');
        if (box?.checked || known.contains(document.activeElement)) continue;
        const next = document.adoptNode(row);
        next.was = known.was;
        known.replaceWith(next);
      }
      for (const table of $('table.list')) columns(table);
      let b = document.querySelector('.newer');
      if (!more) { b?.remove(); return; }
      if (!b) {
        b = document.createElement('button');
        b.type = 'button'; b.className = 'newer';
        b.addEventListener('click', () => { b.remove(); sorted.clear(); scrollTo(0, 0); document.activeElement?.blur(); dispatchEvent(new Event('gaff-draw')); });
        document.querySelector('#live .scroll')?.before(b);
      }
      b.textContent = `${more} new ↑`;
    } finally { looking = false; }
  };
  window.gaffHold = () => { if (!aiming()) return false; look(); return true; };

  // Times are local, or UTC; the choice is shown once.
  const zone = () => {
    const name = utc ? 'UTC' : (new Intl.DateTimeFormat('en', {timeZoneName: 'short'}).formatToParts().find((p) => p.type === 'timeZoneName')?.value ?? 'local');
    let b = document.querySelector('[data-zone]');
    const foot = document.querySelector('.side .foot .row');
    if (!foot) return;
    if (!b) {
      b = document.createElement('button');
      b.type = 'button'; b.className = 'ghost'; b.dataset.zone = '';
      b.addEventListener('click', () => { saved('zone', saved('zone') === 'utc' ? 'local' : 'utc'); location.reload(); });
      foot.append(b);
    }
    b.textContent = 'Times in ' + name;
    b.title = utc ? 'Show local times' : 'Show UTC';
  };
  const stamp = /\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC/g, swedish = new Intl.DateTimeFormat('sv-SE', {dateStyle: 'short', timeStyle: 'medium'});
  const utc = saved('zone') === 'utc';
  const local = (text) => text.replace(stamp, (at) => utc ? at.replace('.000', '') : swedish.format(new Date(at.replace(' UTC', 'Z').replace(' ', 'T'))));

  // The values under the pointer are shown beside a plot; a click shows the events, or jobs, of that time.
  // Titles and tables of numbers are made local when someone looks: a page has thousands.
  const stamps = (root) => {
    for (const el of $('.numbers td:first-child, rect title', root)) {
      if (el.dataset.at) continue;
      el.dataset.at = el.textContent;
      const text = local(el.textContent);
      if (text !== el.textContent) el.textContent = text; // keeps links
    }
  };
  for (const kind of ['pointerover', 'focusin', 'toggle']) {
    addEventListener(kind, (e) => { const figure = e.target.closest?.('figure.plot'); if (figure) stamps(figure); }, true);
  }
  const plots = () => {
    for (const svg of $('.plot .axes svg')) {
      if (svg.dataset.cross) continue;
      svg.dataset.cross = '1';
      const figure = svg.closest('figure'), ticks = [...$('.x time', figure)].map((t) => Date.parse(t.dateTime));
      const wide = svg.viewBox.baseVal.width, n = wide / 10, from = ticks[0], step = (ticks.at(-1) - from) / n;
      const tip = document.createElement('div');
      tip.className = 'tip'; tip.hidden = true; tip.setAttribute('aria-hidden', 'true');
      const line = document.createElementNS('http://www.w3.org/2000/svg', 'line');
      line.setAttribute('class', 'cross'); line.setAttribute('y1', '0'); line.setAttribute('y2', '100');
      svg.parentElement.append(tip);
      const heads = [...$('.numbers th', figure)].map((th) => th.textContent);
      const at = (e) => {
        const box = svg.getBoundingClientRect();
        return Math.min(Math.max(Math.floor((e.clientX - box.left) / box.width * n), 0), n - 1);
      };
      svg.addEventListener('pointermove', (e) => {
        const i = at(e), time = from + i * step, x = i * 10 + 5;
        const row = [...$('.numbers tbody tr', figure)].find((tr) => Math.abs(Date.parse((tr.cells[0].dataset.at ?? tr.cells[0].textContent).replace(' UTC', 'Z').replace(' ', 'T')) - time) < step / 2);
        line.setAttribute('x1', x); line.setAttribute('x2', x);
        svg.append(line);
        tip.hidden = false;
        tip.textContent = ['days' in figure.dataset ? new Date(time).toISOString().slice(0, 10) : local(new Date(time).toISOString().replace('T', ' ').replace('Z', ' UTC')), ...(row ? [...row.cells].slice(1).map((td, k) => `${heads[k + 1]} ${td.textContent}`) : ['no data'])].join(' · ');
      });
      svg.addEventListener('pointerleave', () => { tip.hidden = true; line.remove(); });
      if (!('still' in figure.dataset)) svg.addEventListener('click', (e) => {
        const time = from + at(e) * step, to = new URL(e.target.dataset.list ?? figure.dataset.list ?? '/events', location.href), q = to.searchParams;
        q.set('since', new Date(time).toISOString());
        q.set('until', new Date(time + step).toISOString());
        const source = /^\/sources\/([^/]+)$/.exec(location.pathname)?.[1];
        if (source) q.set('source', decodeURIComponent(source));
        location.href = to.href;
      });
    }
  };

  // A table that fits has no scroll box of its own, so that its headings stay at the window's top.
  const fit = () => {
    const all = [...$('.scroll:has(> .list)')].map((scroll) => [scroll, scroll.firstElementChild.scrollWidth <= scroll.clientWidth + 1]);
    for (const [scroll, fits] of all) scroll.toggleAttribute('data-fits', fits);
  };
  addEventListener('resize', fit);
  const all = () => { tables(); zone(); plots(); fit(); };
  document.addEventListener('htmx:after:swap', all);
  all();
})();
