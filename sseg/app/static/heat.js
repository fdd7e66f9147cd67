// Grey maps as colours.
const INFERNO = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99],
  [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];

function colourMap(gray, stops) {                  // picture with values in red -> canvas of the same size
  const px = bytesOf(gray), map = new OffscreenCanvas(gray.naturalWidth, gray.naturalHeight);
  const c = map.getContext('2d'), out = c.createImageData(map.width, map.height);
  for (let i = 0; i < px.length; i += 4) {
    const t = px[i] / 255 * (stops.length - 1), j = Math.min(stops.length - 2, t | 0);
    for (let k = 0; k < 3; k++) out.data[i + k] = stops[j][k] + (t - j) * (stops[j + 1][k] - stops[j][k]);
    out.data[i + 3] = 255;
  }
  c.putImageData(out, 0, 0);
  return map;
}
