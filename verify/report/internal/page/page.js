'use strict';
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  document.documentElement.classList.add('js');

  // The text beside what the reader points at or has chosen with the keyboard.
  const tip = document.createElement('div');
  tip.id = 'tip';
  tip.setAttribute('role', 'status');
  document.body.append(tip);
  let anchor;
  const place = () => {
    const box = anchor.getBoundingClientRect(), width = tip.offsetWidth, height = tip.offsetHeight;
    const left = Math.min(Math.max(box.left + box.width / 2 - width / 2, 8), innerWidth - width - 8);
    const top = box.top - height - 8 < 4 ? box.bottom + 8 : box.top - height - 8;
    tip.style.left = left + 'px';
    tip.style.top = top + 'px';
  };
  const show = (text, at) => {
    tip.textContent = text;
    tip.classList.add('on');
    anchor = at;
    place();
  };
  const hide = () => tip.classList.remove('on');
  // A step to what is not in the window scrolls it there. The text goes along.
  addEventListener('scroll', () => tip.classList.contains('on') && place(), { passive: true, capture: true });
  addEventListener('keydown', e => { if (e.key === 'Escape') hide(); });

  // Plots: the point that is nearest to the pointer; arrow keys go from point to point.
  for (const svg of all('svg.chart')) {
    const points = all('.pick', svg).map(element => {
      const title = element.querySelector('title'), text = title.textContent;
      title.remove();
      element.setAttribute('aria-label', text);
      return { element, text };
    });
    if (!points.length) continue;
    let measured = false, current = -1;
    const measure = () => {
      if (measured) return;
      measured = true;
      for (const p of points) {
        const box = p.element.getBBox();
        Object.assign(p, { left: box.x, right: box.x + box.width, top: box.y, bottom: box.y + box.height });
      }
      points.sort((a, b) => a.left + a.right - b.left - b.right || a.top - b.top);
    };
    const choose = at => {
      if (current >= 0) points[current].element.classList.remove('at');
      current = at;
      if (at < 0) return hide();
      points[at].element.classList.add('at');
      show(points[at].text, points[at].element);
    };
    const point = e => {
      measure();
      const at = new DOMPoint(e.clientX, e.clientY).matrixTransform(svg.getScreenCTM().inverse());
      let best = -1, least = 24;
      points.forEach((p, i) => {
        const far = Math.hypot(Math.max(p.left - at.x, at.x - p.right, 0), Math.max(p.top - at.y, at.y - p.bottom, 0) / 3);
        if (far < least) [best, least] = [i, far];
      });
      choose(best);
    };
    svg.addEventListener('pointermove', point);
    svg.addEventListener('pointerdown', point);
    svg.addEventListener('pointerleave', () => choose(-1));
    svg.addEventListener('blur', () => choose(-1));
    svg.setAttribute('tabindex', '0');
    svg.setAttribute('role', 'group');
    svg.addEventListener('keydown', e => {
      const to = { ArrowRight: current + 1, ArrowDown: current + 1, ArrowLeft: current - 1, ArrowUp: current - 1, Home: 0, End: points.length - 1 }[e.key];
      if (to === undefined || e.ctrlKey || e.metaKey || e.altKey) return;
      e.preventDefault();
      measure();
      choose(Math.min(Math.max(to, 0), points.length - 1));
    });
  }

  // Groups of elements of which the Tab key reaches one, and the arrow keys the others.
  const roving = (rows, onfocus) => {
    const at = new Map();
    rows.forEach((row, y) => row.forEach((element, x) => {
      if (!element) return;
      at.set(element, [x, y]);
      element.tabIndex = at.size === 1 ? 0 : -1;
      element.addEventListener('focus', () => {
        for (const e of at.keys()) e.tabIndex = e === element ? 0 : -1;
        onfocus(element);
      });
      element.addEventListener('blur', hide);
    }));
    return (element, dx, dy) => {
      let [x, y] = at.get(element);
      do { x += dx; y += dy; } while (rows[y] && x >= 0 && x < rows[y].length && !rows[y][x]);
      if (rows[y] && rows[y][x]) rows[y][x].focus();
    };
  };
  const arrows = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };

  // Heat maps.
  for (const table of all('.heat table')) {
    const text = cell => cell.querySelector('.unseen').textContent;
    const rows = all('tbody tr', table).map(row => all('td', row).map(cell => cell.classList.contains('none') ? null : cell.firstElementChild));
    const move = roving(rows, cell => show(text(cell), cell));
    for (const cell of rows.flat().filter(Boolean)) {
      cell.removeAttribute('title');
      cell.addEventListener('pointerenter', () => show(text(cell), cell));
      cell.addEventListener('pointerleave', hide);
      cell.addEventListener('keydown', e => {
        if (!arrows[e.key]) return;
        e.preventDefault();
        move(cell, ...arrows[e.key]);
      });
    }
  }

  // The tensors of a row that stands for several layers.
  const tensors = ({ list, layers, names }) => !layers ? [] : layers.split(',').flatMap(range => {
    const [from, to = from] = range.split('-').map(Number);
    return Array.from({ length: to - from + 1 }, (_, k) => names.split(', ').map(name => `${list}.${from + k}.${name}`)).flat();
  });

  // Names, which a click copies: of a row that stands for several layers those of all its tensors.
  const named = element => {
    const row = element.closest('tr'), whole = row && element === row.querySelector('code.name') ? tensors(row.dataset) : [];
    return whole.length ? whole : [element.textContent];
  };
  const copy = async element => {
    const all = named(element), text = all.join('\n');
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement('textarea');
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand('copy');
      area.remove();
      element.focus();
    }
    show(all.length > 1 ? `copied ${all.length} names` : 'copied', element);
    setTimeout(hide, 1200);
  };
  const names = element => {
    element.setAttribute('role', 'button');
    element.title = 'copy';
    element.addEventListener('click', () => { if (getSelection().isCollapsed) copy(element); });
    element.addEventListener('keydown', e => {
      if (e.key !== 'Enter' && e.key !== ' ') return;
      e.preventDefault();
      copy(element);
    });
  };
  for (const element of all('code.name')) {
    names(element);
    if (!element.closest('table')) element.tabIndex = 0;
  }
  for (const body of all('table.cards tbody')) {
    const focus = element => { for (const e of all('code.name', body)) e.tabIndex = e === element ? 0 : -1; };
    const first = body.querySelector('code.name');
    if (!first) continue;
    focus(first);
    body.addEventListener('focusin', e => { if (e.target.matches('code.name')) focus(e.target); });
    body.addEventListener('keydown', e => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
      if (!step || !e.target.matches('code.name')) return;
      const shown = all('code.name', body).filter(n => n.offsetParent), to = shown[shown.indexOf(e.target) + step];
      if (!to) return;
      e.preventDefault();
      to.focus();
    });
  }

  // Tables: sorted by a column, filtered by text.
  const natural = new Intl.Collator('en', { numeric: true });
  for (const table of all('table.cards:not(.fixed)')) {
    const body = table.tBodies[0], heads = all('thead th', table), rows = [...body.rows];
    if (rows.length < 2) continue;
    const key = (row, at) => row.cells[at] ? row.cells[at].dataset.sort ?? row.cells[at].textContent.trim() : '';
    heads.forEach((head, at) => {
      const title = head.textContent;
      if (!title.trim()) return;
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = title;
      head.replaceChildren(button);
      button.addEventListener('click', () => {
        const before = head.getAttribute('aria-sort'), number = head.classList.contains('n');
        const down = before ? before === 'ascending' : number;
        for (const h of heads) h.removeAttribute('aria-sort');
        head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
        const rank = s => s === '' ? 0 : Number.isNaN(Number(s)) ? 2 : 1; // numbers are before texts in every column
        const order = (a, b) => {
          const x = key(a, at), y = key(b, at);
          return rank(x) - rank(y) || (rank(x) === 1 ? Number(x) - Number(y) : natural.compare(x, y));
        };
        body.append(...[...rows].sort((a, b) => down ? order(b, a) : order(a, b)));
      });
    });
    if (rows.length < 12) continue;
    const label = document.createElement('label'), input = document.createElement('input'), count = document.createElement('span');
    label.className = 'filter';
    input.type = 'search';
    input.placeholder = 'part of a name or value';
    count.setAttribute('role', 'status');
    count.className = 'soft';
    label.append('Filter ', input, count);
    table.before(label);
    let texts;
    input.addEventListener('input', () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      texts ??= rows.map(row => [row.textContent, ...tensors(row.dataset)].join('\n').toLowerCase());
      rows.forEach((row, at) => {
        row.hidden = !words.every(w => texts[at].includes(w));
        if (!row.hidden) left++;
      });
      count.textContent = words.length ? ` ${left} of ${rows.length}` : '';
    });
  }

  // Links into closed details open them.
  const reveal = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let d = target.closest('details'); d; d = d.parentElement.closest('details')) d.open = true;
    target.hidden = false;
    target.scrollIntoView();
  };
  addEventListener('hashchange', reveal);
  reveal();
})();
