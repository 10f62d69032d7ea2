/** The WCAG contrast of an element's text with its background, including its ancestors' backgrounds and opacities. */
(element) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const read = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const mix = (above, alpha, below) => below.map((each, index) => above[index] * alpha + each * (1 - alpha));
  const chain = [];
  for (let each = element; each; each = each.parentElement) chain.unshift(each);
  let ground = [255, 255, 255];
  for (const each of chain) {
    const color = read(getComputedStyle(each).backgroundColor);
    ground = mix(color, color[3], ground);
  }
  const color = read(getComputedStyle(element).color);
  const opacity = chain.reduce((product, each) => product * Number(getComputedStyle(each).opacity), 1);
  const text = mix(color, color[3] * opacity, ground);
  const linear = (each) => (each / 255 <= 0.03928 ? each / 255 / 12.92 : ((each / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const [more, less] = [light(text), light(ground)].sort((one, other) => other - one);
  return (more + 0.05) / (less + 0.05);
}
