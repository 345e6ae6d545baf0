"""The equations in their slowest form: loops, in the paper's order, over plain lists of numbers.

They import nothing that they judge. Maps are nested lists ``[channel][y][x]``, masks ``[y][x]``, descriptors lists of
lists; results are lists of floats in double precision.
"""

from __future__ import annotations

import math

import numpy as np

Map = list[list[float]]
Mask = list[list[bool]]
Features = list[Map]
Vector = list[float]


# --- SCDA ---------------------------------------------------------------------------------------------------------


def activation(features: Features) -> Map:
    """[SCDA-1]."""
    height, width = len(features[0]), len(features[0][0])
    return [[math.fsum(channel[y][x] for channel in features) for x in range(width)] for y in range(height)]


def above_mean(values: Map) -> Mask:
    """[SCDA-2]: strictly above; a constant map selects nothing."""
    cells = [value for row in values for value in row]
    mean = math.fsum(cells) / len(cells)
    return [[value > mean and max(cells) > min(cells) for value in row] for row in values]


def components(mask: Mask) -> list[set[tuple[int, int]]]:
    """8-connected components as sets of (y, x), by flood fill, in column-major order of their first cell."""
    height, width = len(mask), len(mask[0])
    seen: set[tuple[int, int]] = set()
    found = []
    for x in range(width):
        for y in range(height):
            if not mask[y][x] or (y, x) in seen:
                continue
            component, border = {(y, x)}, [(y, x)]
            while border:
                v, u = border.pop()
                for j in range(max(0, v - 1), min(height, v + 2)):
                    for i in range(max(0, u - 1), min(width, u + 2)):
                        if mask[j][i] and (j, i) not in component:
                            component.add((j, i))
                            border.append((j, i))
            seen |= component
            found.append(component)
    return found


def largest_component(mask: Mask) -> Mask:
    """[SCDA-3]: the first of the largest; an empty mask stays empty."""
    best: set[tuple[int, int]] = set()
    for component in components(mask):
        if len(component) > len(best):
            best = component
    return [[(y, x) in best for x in range(len(mask[0]))] for y in range(len(mask))]


def kept_descriptors(features: Features, mask: Mask) -> list[Vector]:
    return [
        [channel[y][x] for channel in features]
        for y in range(len(mask))
        for x in range(len(mask[0]))
        if mask[y][x]
    ]  # fmt: skip


def unit(vector: Vector) -> Vector:
    norm = math.sqrt(math.fsum(value * value for value in vector))
    return [value / norm for value in vector] if norm else [0.0 for _ in vector]


def mean(descriptors: list[Vector], channels: int) -> Vector:
    """[SCDA-4]."""
    count = max(1, len(descriptors))
    return [math.fsum(d[c] for d in descriptors) / count for c in range(channels)]


def maximum(descriptors: list[Vector], channels: int) -> Vector:
    """[SCDA-5]."""
    return [max((d[c] for d in descriptors), default=0.0) for c in range(channels)]


def scda(features: Features, mask: Mask | None = None) -> Vector:
    """[SCDA-6]."""
    if mask is None:
        mask = largest_component(above_mean(activation(features)))
    kept = kept_descriptors(features, mask)
    return unit(mean(kept, len(features))) + unit(maximum(kept, len(features)))


def resize(mask: Mask, height: int, width: int) -> Mask:
    """Each new cell takes the old one that holds its centre; on a border, the right or lower one."""
    rows = [int((2 * y + 1) * len(mask) // (2 * height)) for y in range(height)]
    columns = [int((2 * x + 1) * len(mask[0]) // (2 * width)) for x in range(width)]
    return [[mask[y][x] for x in columns] for y in rows]


def lower_mask(features: Features, component: Mask) -> Mask:
    """[SCDA-7]."""
    own = above_mean(activation(features))
    larger = resize(component, len(own), len(own[0]))
    return [[a and b for a, b in zip(*rows, strict=True)] for rows in zip(own, larger, strict=True)]


def scda_plus(pool5: Features, relu5_2: Features, alpha: float) -> Vector:
    """[SCDA-8]."""
    component = largest_component(above_mean(activation(pool5)))
    lower = scda(relu5_2, lower_mask(relu5_2, component))
    return scda(pool5, component) + [alpha * value for value in lower]


def bounding_box(mask: Mask, height: int, width: int) -> list[int]:
    """Around the pixels of the enlarged mask."""
    pixels = [(y, x) for y, row in enumerate(resize(mask, height, width)) for x, on in enumerate(row) if on]
    if not pixels:
        return [0, 0, width, height]
    ys, xs = [y for y, _ in pixels], [x for _, x in pixels]
    return [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


# --- CLP ----------------------------------------------------------------------------------------------------------


def patch(features: Features, y: int, x: int, m: int, n: int) -> Vector:
    """The m x n cells about (y, x), row by row, column by column, channel by channel; zeros beyond the border."""
    height, width = len(features[0]), len(features[0][0])
    found = []
    for j in range(y - (m - 1) // 2, y + m // 2 + 1):
        for i in range(x - (n - 1) // 2, x + n // 2 + 1):
            inside = 0 <= j < height and 0 <= i < width
            found += [channel[j][i] if inside else 0.0 for channel in features]
    return found


def cross_layer(local: Features, weights: Features, m: int, n: int, stride: int = 1) -> Vector:
    """[CLP-1]: unit i of the next layer weighs the patch that its kernel sees."""
    pooled = []
    for a in weights:
        block = [0.0] * (m * n * len(local))
        for v, row in enumerate(a):
            for u, response in enumerate(row):
                x = patch(local, v * stride, u * stride, m, n)
                block = [total + response * value for total, value in zip(block, x, strict=True)]
        pooled += block
    return pooled


def port_normalized(pooled: Vector, channels: int) -> Vector:
    """As a third party's port of the authors' code: per channel, whole vector standardised, root, unit length."""
    size = len(pooled) // channels
    z = [value for k in range(channels) for value in unit(pooled[k * size : (k + 1) * size])]
    average = math.fsum(z) / len(z)
    deviation = math.sqrt(math.fsum((value - average) ** 2 for value in z) / (len(z) - 1))
    z = [(value - average) / deviation for value in z]
    return unit([math.copysign(math.sqrt(abs(value)), value) for value in z])


# --- IA -----------------------------------------------------------------------------------------------------------


class Neurons:
    """A network as single neurons: each has its kind, its bias, and its connections, a weight for each source.

    A layer is ``[channel][y][x]``, numbers of neurons. Sources come before those who read them.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        self.kind: list[str] = []
        self.sources: list[dict[int, float]] = []
        self.bias: list[float] = []
        self.made: list[list] = []  # every layer, in order
        self.images = [[[self.add("image", {}) for _ in range(width)] for _ in range(height)] for _ in range(channels)]

    def add(self, kind: str, sources: dict[int, float], bias: float = 0.0) -> int:
        self.kind.append(kind)
        self.sources.append(sources)
        self.bias.append(bias)
        return len(self.kind) - 1

    def convolution(
        self, layer: list, weight: list, bias: Vector, size: tuple[int, int], kind: str = "relu",
        stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1, skip: list | None = None,
    ) -> list:  # fmt: skip
        """``weight`` is ``[channel][channel in its group][y][x]``; ``skip`` is a layer that is added, each by 1."""
        found = []
        for o, kernel in enumerate(weight):
            first = o * groups // len(weight) * len(kernel)
            found.append([[0] * size[1] for _ in range(size[0])])
            for v in range(size[0]):
                for u in range(size[1]):
                    sources = {} if skip is None else {skip[o][v][u]: 1.0}
                    for c, plane in enumerate(kernel):
                        for j, row in enumerate(plane):
                            for i, value in enumerate(row):
                                y, x = v * stride - padding + j * dilation, u * stride - padding + i * dilation
                                if 0 <= y < len(layer[0]) and 0 <= x < len(layer[0][0]):
                                    sources[layer[first + c][y][x]] = value
                    found[o][v][u] = self.add(kind, sources, bias[o])
        self.made.append(found)
        return found

    def pooling(
        self, layer: list, kind: str, kernel: int, stride: int, size: tuple[int, int], padding: int = 0
    ) -> list:
        """``max``, or ``sum`` for the average of whole windows."""
        found = []
        for channel in layer:
            found.append([[0] * size[1] for _ in range(size[0])])
            for v in range(size[0]):
                for u in range(size[1]):
                    ys = range(max(0, v * stride - padding), min(len(channel), v * stride - padding + kernel))
                    xs = range(max(0, u * stride - padding), min(len(channel[0]), u * stride - padding + kernel))
                    cells = [channel[y][x] for y in ys for x in xs]
                    found[-1][v][u] = self.add(kind, {cell: 1 / len(cells) for cell in cells})
        self.made.append(found)
        return found

    def run(self, image: Features) -> Vector:
        """[IA-1]: every neuron's response."""
        found: Vector = [value for channel in image for row in channel for value in row]
        for n in range(len(found), len(self.kind)):
            if self.kind[n] == "max":
                found.append(max(found[s] for s in self.sources[n]))
                continue
            total = math.fsum([found[s] * weight for s, weight in self.sources[n].items()] + [self.bias[n]])
            found.append(max(total, 0.0) if self.kind[n] == "relu" else total)
        return found

    def slopes(self, responses: Vector, top: dict[int, float]) -> Vector:
        """[IA-4]: from the scores of T's neurons down to every other one."""
        found = [top.get(n, 0.0) for n in range(len(self.kind))]
        for n in reversed(range(len(self.kind))):
            if self.kind[n] == "max":
                found[self.taken(n, responses)] += found[n]
            elif self.kind[n] != "relu" or responses[n] > 0:
                for s, weight in self.sources[n].items():
                    found[s] += found[n] * weight
        return found

    def taken(self, n: int, responses: Vector) -> int:
        return max(self.sources[n], key=lambda s: responses[s])  # the first of equals

    def activeness(self, layer: list, responses: Vector, slopes: Vector, taken_only: bool = False) -> Features:
        """[IA-6], [IA-7], [IA-8]: over all neurons that read a neuron of the layer."""
        readers: dict[int, list[int]] = {}
        for n, sources in enumerate(self.sources):
            for s in sources:
                if not taken_only or self.kind[n] != "max" or self.taken(n, responses) == s:
                    readers.setdefault(s, []).append(n)

        def of(x: int) -> float:
            return math.fsum(responses[x] * (slopes[n] if responses[n] > 0 else 0.0) for n in readers.get(x, []))

        return [[[of(x) for x in row] for row in channel] for channel in layer]


def top_scores(layers: list[list], responses: Vector, p: float) -> dict[int, float]:
    """[IA-2] and [IA-5], with a positive sign, of a layer that may consist of several maps."""
    channels = [[n for row in channel for n in row] for layer in layers for channel in layer]
    means = [math.fsum(responses[n] for n in cells) / len(cells) for cells in channels]
    if math.isinf(p):
        sizes = [abs(mean) for mean in means]
        values = [float(d == sizes.index(max(sizes))) for d in range(len(means))]
    else:
        values = [p * abs(mean) ** (p - 1) if mean else 0.0 for mean in means]
    return {
        n: math.copysign(value, mean) / len(cells)
        for cells, mean, value in zip(channels, means, values, strict=True)
        for n in cells
    }


# --- encodings ----------------------------------------------------------------------------------------------------


def spoc(features: Features) -> Vector:
    height, width = len(features[0]), len(features[0][0])
    sigma = min(height, width) / 2 / 3
    centre_y, centre_x = (height - 1) / 2, (width - 1) / 2
    return [
        math.fsum(
            math.exp(-((y - centre_y) ** 2 + (x - centre_x) ** 2) / (2 * sigma**2)) * channel[y][x]
            for y in range(height)
            for x in range(width)
        )
        for channel in features
    ]


def crow(features: Features) -> Vector:
    height, width = len(features[0]), len(features[0][0])
    total = activation(features)
    length = math.sqrt(math.fsum(value**2 for row in total for value in row))
    share = [sum(value != 0 for row in channel for value in row) / (height * width) for channel in features]
    result = []
    for channel, part in zip(features, share, strict=True):
        weight = math.log(math.fsum(share) / part) if part else 0.0
        places = [math.sqrt(total[y][x] / length) if length else 0.0 for y in range(height) for x in range(width)]
        values = [value for row in channel for value in row]
        result.append(weight * math.fsum(p * v for p, v in zip(places, values, strict=True)))
    return result


def gem(features: Features, p: float) -> Vector:
    result = []
    for channel in features:
        values = [max(value, 1e-6) for row in channel for value in row]
        result.append((math.fsum(value**p for value in values) / len(values)) ** (1 / p))
    return result


def rmac(features: Features, levels: int) -> Vector:
    """After the authors' MATLAB, with its counting from 1 and its centres."""
    height, width = len(features[0]), len(features[0][0])
    w = min(height, width)
    steps = [2, 3, 4, 5, 6, 7]
    overlap = [abs((w**2 - w * ((max(height, width) - w) / (s - 1))) / w**2 - 0.4) for s in steps]
    idx = overlap.index(min(overlap)) + 1
    wd, hd = (idx if height < width else 0), (idx if height > width else 0)
    total = [0.0] * len(features)
    for level in range(1, levels + 1):
        wl = math.floor(2 * w / (level + 1))
        half = math.floor(wl / 2 - 1)
        b = (width - wl) / (level + wd - 1) if level + wd > 1 else 0.0
        columns = [math.floor(half + i * b) - half for i in range(level + wd)]
        b = (height - wl) / (level + hd - 1) if level + hd > 1 else 0.0
        rows = [math.floor(half + i * b) - half for i in range(level + hd)]
        for y in rows:
            for x in columns:
                if wl:
                    region = [max(c[j][i] for j in range(y, y + wl) for i in range(x, x + wl)) for c in features]
                    total = [t + v for t, v in zip(total, unit(region), strict=True)]
    return total


def vlad(descriptors: list[Vector], centroids: list[Vector]) -> Vector:
    """Added up: v = [0 ... 0, x - c_k, 0 ... 0], with c_k the closest centroid, the first of equals."""
    blocks = [[0.0] * len(c) for c in centroids]
    for x in descriptors:
        distances = [math.fsum((a - b) ** 2 for a, b in zip(x, c, strict=True)) for c in centroids]
        k = distances.index(min(distances))
        blocks[k] = [v + a - b for v, a, b in zip(blocks[k], x, centroids[k], strict=True)]
    return [value for block in blocks for value in block]


def fisher(
    descriptors: list[Vector], weights: Vector, means: list[Vector], variances: list[Vector]
) -> tuple[Vector, Vector, Vector]:
    """Gradients of the weights, means and standard deviations; Sanchez et al. 2013, equations 16 to 18."""
    k, d, number = len(weights), len(means[0]), len(descriptors)
    of_weights = [0.0] * k
    of_means = [[0.0] * d for _ in range(k)]
    of_deviations = [[0.0] * d for _ in range(k)]
    for x in descriptors:
        logs = [
            math.log(weights[j])
            - 0.5 * math.fsum(math.log(2 * math.pi * v) + (a - m) ** 2 / v
                              for a, m, v in zip(x, means[j], variances[j], strict=True))
            for j in range(k)
        ]  # fmt: skip
        top = max(logs)
        exps = [math.exp(value - top) for value in logs]
        for j in range(k):
            gamma = exps[j] / sum(exps)
            of_weights[j] += (gamma - weights[j]) / math.sqrt(weights[j]) / number
            for i in range(d):
                z = (x[i] - means[j][i]) / math.sqrt(variances[j][i])
                of_means[j][i] += gamma * z / math.sqrt(weights[j]) / number
                of_deviations[j][i] += gamma * (z * z - 1) / math.sqrt(2 * weights[j]) / number
    return of_weights, [v for row in of_means for v in row], [v for row in of_deviations for v in row]


# --- DLFS (ASK) ---------------------------------------------------------------------------------------------------


def grouped_maps(features: Features, weight: list[Vector], groups: int) -> Features:
    """[ASK-1], then [ASK-2]: a 1x1 convolution, then the sums over contiguous groups of its channels."""
    height, width, size = len(features[0]), len(features[0][0]), len(weight) // groups
    places = [(y, x) for y in range(height) for x in range(width)]
    convolved = [{at: math.fsum(w * f[at[0]][at[1]] for w, f in zip(row, features, strict=True)) for at in places}
                 for row in weight]  # fmt: skip
    return [
        [[math.fsum(convolved[j * size + i][y, x] for i in range(size)) for x in range(width)] for y in range(height)]
        for j in range(groups)
    ]


def softmax_2d(values: Map, temperature: float) -> Map:
    """[ASK-3]."""
    top = max(value for row in values for value in row)
    exps = [[math.exp((value - top) / temperature) for value in row] for row in values]
    total = math.fsum(value for row in exps for value in row)
    return [[value / total for value in row] for row in exps]


def expectation(h: Map) -> Vector:
    """[ASK-4]: x is the column, y the row."""
    x = math.fsum(v * value for row in h for v, value in enumerate(row))
    y = math.fsum(u * value for u, row in enumerate(h) for value in row)
    return [x, y]


def bilinear(features: Features, x: float, y: float) -> Vector:
    """[ASK-5]: u is the row, v the column."""
    return [
        math.fsum(
            value * max(0.0, 1 - abs(x - v)) * max(0.0, 1 - abs(y - u))
            for u, row in enumerate(channel)
            for v, value in enumerate(row)
        )
        for channel in features
    ]


def bilinear_slopes(channel: Map, x: float, y: float) -> tuple[Map, float, float]:
    """[ASK-6] without the sum, [ASK-7] for y and for x, with the sign of [ASK-8] as spatial transformers have it."""

    def g(cell: int, at: float) -> float:
        return 0.0 if abs(cell - at) >= 1 else (1.0 if cell >= at else -1.0)

    cells = [(u, v, value) for u, row in enumerate(channel) for v, value in enumerate(row)]
    by_cell = [[max(0.0, 1 - abs(x - v)) * max(0.0, 1 - abs(y - u)) for v in range(len(channel[0]))]
               for u in range(len(channel))]  # fmt: skip
    by_x = math.fsum(value * g(v, x) * max(0.0, 1 - abs(y - u)) for u, v, value in cells)
    by_y = math.fsum(value * g(u, y) * max(0.0, 1 - abs(x - v)) for u, v, value in cells)
    return by_cell, by_x, by_y


def max_pooled(channel: Map, size: int) -> Map:
    """S x S windows that cover the map; they overlap where it does not divide."""
    height, width = len(channel), len(channel[0])
    rows = [range(i * height // size, -(-(i + 1) * height // size)) for i in range(size)]
    columns = [range(i * width // size, -(-(i + 1) * width // size)) for i in range(size)]
    return [[max(channel[y][x] for y in ys for x in xs) for xs in columns] for ys in rows]


def information_loss(
    maps: list[Features], labels: list[int], weight: list[Features], bias: Vector, log_sigma: Vector, floor: float
) -> float:
    """[ASK-9] and [ASK-10]; ``weight`` is ``[class][map][y][x]``."""
    total = 0.0
    for image, label in zip(maps, labels, strict=True):
        pooled = [max_pooled(channel, len(weight[0][0])) for channel in image]
        for n, kernel in enumerate(weight):
            mean = bias[n] + math.fsum(
                w * pooled[k][y][x]
                for k, rows in enumerate(kernel) for y, row in enumerate(rows) for x, w in enumerate(row)
            )  # fmt: skip
            sigma = math.sqrt(math.exp(log_sigma[n]) ** 2 + floor**2)
            total += math.log(sigma) + ((1.0 if label == n else 0.0) - mean) ** 2 / (2 * sigma**2)
    return total / len(maps)


def point_correlation(a: list[Vector], b: list[Vector], flat: bool) -> float:
    """The mean of the cosines point by point, or the cosine of all numbers."""
    if flat:
        return cosine([v for row in a for v in row], [v for row in b for v in row])
    return math.fsum(cosine(*pair) for pair in zip(a, b, strict=True)) / len(a)


def triplet_loss(features: list[list[Vector]], labels: list[int], margin: float, mining: str, flat: bool) -> float:
    """[ASK-13] over all triplets, or over each anchor's hardest; turned so that one class comes together."""
    rho = [[point_correlation(a, b, flat) for b in features] for a in features]
    losses = []
    for a, own in enumerate(labels):
        positives = [rho[a][p] for p, label in enumerate(labels) if label == own and p != a]
        negatives = [rho[a][n] for n, label in enumerate(labels) if label != own]
        if mining == "batch-hard" and positives and negatives:
            positives, negatives = [min(positives)], [max(negatives)]
        losses += [max(n - p + margin, 0.0) for p in positives for n in negatives]
    return math.fsum(losses) / max(1, len(losses))


# --- evaluation ---------------------------------------------------------------------------------------------------


def cosine(a: Vector, b: Vector) -> float:
    return math.fsum(x * y for x, y in zip(unit(a), unit(b), strict=True))


def ranking(query: Vector, gallery: list[Vector], leave_out: int | None = None) -> list[int]:
    """Indices from the most to the least similar; of equals the lower index first."""
    indices = [i for i in range(len(gallery)) if i != leave_out]
    return sorted(indices, key=lambda i: (-cosine(query, gallery[i]), i))


def average_precision(hit: list[bool], k: int, possible: int | None = None) -> float:
    """Divided by the hits among the first k, or by min(k, possible)."""
    total, found = 0.0, 0
    for position, right in enumerate(hit[:k], start=1):
        if right:
            found += 1
            total += found / position
    divisor = found if possible is None else min(k, possible)
    return total / divisor if divisor else 0.0


def box_iou(a: list[int], b: list[int]) -> float:
    """By counting pixels."""
    first = {(y, x) for y in range(a[1], a[3]) for x in range(a[0], a[2])}
    second = {(y, x) for y in range(b[1], b[3]) for x in range(b[0], b[2])}
    return len(first & second) / len(first | second) if first and second else 0.0


# --- HHA ----------------------------------------------------------------------------------------------------------


def plane_normal(points: list[tuple[float, float, float]]) -> Vector | None:
    """Of the plane a X + b Y + c Z = 1 through points, fitted in inverse depth; None unless they span one."""
    rows = np.array([(x / z, y / z, 1.0) for x, y, z in points]).reshape(-1, 3)
    if np.linalg.matrix_rank(rows, tol=1e-9) < 3:
        return None
    return unit(list(np.linalg.lstsq(rows, np.array([1 / z for _, _, z in points]), rcond=None)[0]))


def gravity(normals: list[Vector]) -> Vector:
    """Gupta et al.: from straight down, five rounds at 45 degrees and five at 15."""
    down = np.array([0.0, 1.0, 0.0])
    for angle in [45] * 5 + [15] * 5:
        spread = np.zeros((3, 3))
        for normal in map(np.array, normals):
            cosine = abs(float(normal @ down))
            spread += np.outer(normal, normal) * (cosine < math.sin(math.radians(angle)))
            spread -= np.outer(normal, normal) * (cosine > math.cos(math.radians(angle)))
        least = np.linalg.eigh(spread)[1][:, 0]
        down = least if least @ down >= 0 else -least
    return [float(each) for each in down]


def hha(depth: Map, known: Mask, fx: float, fy: float, cx: float, cy: float) -> list[list[list[int]]]:
    """Of depth in metres, nowhere zero; pixels that are not known give no normals."""
    height, width = len(depth), len(depth[0])
    points = [
        [((x + 1 - cx) * z / fx, (y + 1 - cy) * z / fy, z) for x, z in enumerate(row)] for y, row in enumerate(depth)
    ]

    def normal(x: int, y: int, r: int) -> Vector | None:
        rows, columns = range(max(0, y - r), min(height, y + r + 1)), range(max(0, x - r), min(width, x + r + 1))
        return plane_normal([points[j][i] for j in rows for i in columns if known[j][i]])

    found = (normal(x, y, 10) for y in range(height) for x in range(width))
    down = gravity([each for each in found if each is not None])
    ups = [[-100 * sum(a * b for a, b in zip(point, down, strict=True)) for point in row] for row in points]
    lowest = min(min(row) for row in ups)
    lowest = -130 if lowest > -90 else lowest
    levels = []
    for y in range(height):
        levels.append([])
        for x in range(width):
            own = normal(x, y, 3)
            cosine = 0.0 if own is None else sum(a * b for a, b in zip(own, down, strict=True))
            angle = 180 if own is None else math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
            values = (31000 / max(100 * depth[y][x], 100), ups[y][x] - lowest, angle + 128 - 90)
            levels[-1].append([max(0, min(255, round(value))) for value in values])
    return levels
