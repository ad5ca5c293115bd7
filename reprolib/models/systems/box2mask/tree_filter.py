"""A filter along the minimum spanning tree of a map's pixels (Song et al., NeurIPS 2019), without a compiled extension.

Every pixel becomes the mean of all pixels, weighted with the product of the weights of the tree's edges between them:
near along the tree, not in the plane, so that nothing crosses the edges of objects.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from torch import Tensor


class Tree(NamedTuple):
    """The pixels of a map [h,w], numbered row by row, as a tree; the first one is its root, and its own parent."""

    parents: Tensor  # [P] pixel above each pixel
    jumps: list[Tensor]  # each [P]: pixel 1, 2, 4 ... steps above, until that is the root for all


@torch.no_grad()
def spanning_tree(feature: Tensor) -> Tree:
    """feature [C,h,w] -> the minimum spanning tree of its 4-neighbours; an edge costs the squared difference and 1."""
    height, width = feature.shape[-2:]
    values = feature.float().cpu().numpy().reshape(len(feature), -1)
    index = np.arange(height * width).reshape(height, width)
    first = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    second = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    cost = np.square(values[:, first] - values[:, second]).sum(0) + 1
    edges = coo_matrix((cost, (first, second)), shape=(index.size, index.size)).tocsr()
    _, parents = breadth_first_order(minimum_spanning_tree(edges), 0, directed=False)
    parents[0] = 0
    jumps = [parents.astype(np.int64)]
    while jumps[-1].any():
        jumps.append(jumps[-1][jumps[-1]])
    jumps = [torch.from_numpy(jump).to(feature.device) for jump in jumps]
    return Tree(jumps[0], jumps)


def edge_weights(tree: Tree, feature: Tensor, *, sigma: float) -> Tensor:
    """[P] weight of the edge from each pixel to its parent, exp(-squared difference / sigma); 0 of the root's."""
    flat = feature.float().flatten(1)
    weights = torch.exp(-(flat - flat[:, tree.parents]).square().sum(0) / sigma)
    return torch.cat([weights.new_zeros(1), weights[1:]])


def tree_filter(maps: Tensor, tree: Tree, weights: Tensor) -> Tensor:
    """maps [N,h,w] -> the same, filtered; differentiable in the maps and the weights.

    Two passes: from the leaves every pixel collects what lies below it; from the root it gets what lies elsewhere.
    Each pass goes 1, 2, 4 ... edges at once, as sums along all paths factor into such steps: I + A + A^2 + ... is the
    product of I + A^(2^k), with A the weights of the edges.
    """
    sums = torch.cat([maps.flatten(1), maps.new_ones((1, maps[0].numel()))])
    steps = [weights]  # for each jump the product of the weights along it; 0 where it would pass the root
    for jump in tree.jumps[:-1]:
        steps.append(steps[-1] * steps[-1][jump])
    for jump, step in zip(tree.jumps, steps, strict=True):
        sums = sums.index_add(1, jump, step * sums)
    sums = (1 - weights.square()) * sums
    for jump, step in zip(tree.jumps, steps, strict=True):
        sums = sums + step * sums[:, jump]
    return (sums[:-1] / sums[-1:]).view_as(maps)
