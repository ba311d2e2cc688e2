"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const about = JSON.parse(document.body.dataset.about);
  const layer = (name, suffix) => ({
    width: about.width, height: about.height, tileSize: about.tile, tileOverlap: 0,
    minLevel: 0, maxLevel: about.top,
    getTileUrl: (level, x, y) => `${about.tiles}/${name}/${level}/${x}_${y}.${suffix}`,
  });
  const viewer = OpenSeadragon({
    element: byId("view"), showNavigationControl: false, drawer: "canvas",
    tileSources: [layer("image", "jpg"), layer("lines", "png")],
    maxZoomPixelRatio: 8, animationTime: 0.4, gestureSettingsMouse: { clickToZoom: false },
  });

  function outlines(on) {
    byId("outlines").checked = on;
    if (viewer.world.getItemCount() > 1) viewer.world.getItemAt(1).setOpacity(on ? 1 : 0);
  }

  // The longest of 1, 2, 5, 10 and so on that takes no more than a sixth of the window.
  function scale() {
    const item = viewer.world.getItemAt(0);
    if (!about.micrometres || !item) return;
    const each = item.viewportToImageZoom(viewer.viewport.getZoom(true)) / about.micrometres;
    const most = window.innerWidth / 6 / each, power = 10 ** Math.floor(Math.log10(most));
    const length = power * [5, 2, 1].find((n) => n * power <= most);
    byId("scale").hidden = false;
    byId("scale").querySelector("i").style.width = `${length * each}px`;
    byId("scale").querySelector("span").textContent =
      length >= 1000 ? `${length / 1000} mm` : `${+length.toPrecision(1)} µm`;
  }

  const zoom = (factor) => { viewer.viewport.zoomBy(factor); viewer.viewport.applyConstraints(); };
  byId("outlines").addEventListener("change", (event) => outlines(event.target.checked));
  byId("in").addEventListener("click", () => zoom(2));
  byId("out").addEventListener("click", () => zoom(0.5));
  byId("whole").addEventListener("click", () => viewer.viewport.goHome());
  document.addEventListener("keydown", (event) => {
    if (event.key === "o" && !event.ctrlKey && !event.metaKey) outlines(!byId("outlines").checked);
  });
  viewer.addHandler("update-viewport", scale);
  viewer.addHandler("open", scale);
  viewer.addHandler("resize", scale);
})();
