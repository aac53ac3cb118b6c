"""One channel's exact search in a reduced basis, for stiff layers, its rounding bounded.

Around the minimiser z* of the error f over the box, H the Gram (``centred``), every code of the
box has ``f(z) = value + sum_i p_i t_i + ||d||_H^2``, ``d = z - z*``: t_i counts the steps from the
end of the box that draws code i with the price ``p_i >= 0``. A reduced basis mixes the codes, so a
sum over codes could only be added at the leaves; but t_i is at most the width W of the box, hence

    p_i t_i = fold_i t_i^2 + t_i (p_i - fold_i t_i),    0 <= fold_i <= p_i / W,  both terms >= 0,

and the first is quadratic and centred where d is: it joins the form, ``A = H + diag(fold)``. So the
tree of ``||d||_A^2`` is as narrow as clipped weights make it, without the box in it. The second is
added at the leaves, where the box is checked.

Rounding. With ``z = o + U y``, y* the double vector nearest to ``U^-1 (z* - o)`` and
``e = z* - o - U y*``, a code's ``||d||_A`` and ``||y - y*||_T``, ``T = U^T A U``, differ by at most
``c = sqrt(trace A) ||e||``. T is formed in extended precision with an error E and factored
(``factor.factorise``: residual, shift). A computed row of ``R (y - y*)`` is wrong by at most
``2 u (|R| |y - y*|)_i``, ``u = (n+24) 2^-53``: n+4 for the sum, the rest because siblings are
ordered by a minimiser that is itself rounded, and one passed over may be closer than the one that
closed its level by that much. ``slack`` adds all this up over the points no dearer than the codes
known, which lie within ``length`` of y*.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bounds.quantization.centred import Centred, centre
from bounds.quantization.codes import CodeProblem
from bounds.quantization.factor import Factor, factorise, search_order
from bounds.quantization.search.bounding import farthest, radii
from bounds.quantization.search.enumeration import Quadratic, Walk, new_walk
from bounds.quantization.search.estimate import estimate_nodes
from bounds.quantization.search.lattice_walk import EXACT, LatticeForm, walk_lattice
from bounds.quantization.search.reduced_basis import Basis, gain, reduced_basis

Floats = NDArray[np.float64]
Extended = NDArray[np.longdouble]

#: A chunk whose trees shrink by less than this factor is searched in its own inputs.
WORTHWHILE_GAIN = 1.5
#: Larger forms are not reduced: their exact search is hopeless, and LLL takes n^3 and more.
MOST_INPUTS = 200
PROBES = 60


@dataclass(frozen=True)
class Frame:
    """A form A in a reduced basis U, whose columns stand in the order its factor is walked.

    Attributes:
        basis: U; factor: of ``T = U^T A U``, its own order the identity.
        formed: 2-norm of what forming T has rounded off; trace: of A, rounded up.
    """

    basis: Basis
    factor: Factor
    formed: float
    trace: float

    @cached_property
    def columns(self) -> Floats:
        """U as doubles."""
        return self.basis.columns.astype(np.float64)

    @cached_property
    def spread(self) -> float:
        """Frobenius norm of U's inverse."""
        return float(np.linalg.norm(self.basis.inverse.astype(np.float64))) * (1 + 1e-12)


@dataclass(frozen=True)
class Lattice:
    """One channel around the minimiser over the box, in a frame of ``H + diag(fold)``.

    ``centre`` (n,) is y*, ``origin`` (n,) o, ``drift`` the 2-norm of ``e``; price, fold (n,).
    """

    codes: CodeProblem
    centred: Centred
    frame: Frame
    centre: Floats
    origin: Floats
    price: Floats
    fold: Floats
    drift: float

    @cached_property
    def form(self) -> LatticeForm:
        """What the kernel walks on."""
        return LatticeForm(
            self.frame.factor.factor,
            self.centre,
            self.frame.columns,
            self.origin,
            np.ascontiguousarray(self.centred.point[0]),
            self.price,
            self.fold,
            float(self.codes.lo),
            float(self.codes.hi),
        )

    def radius(self, incumbent: Floats) -> float:
        """Cost of incumbent codes (n,) above the centre, rounded up."""
        return float(radii(self.codes, self.centred, incumbent[None, :])[0])

    def nodes(self, radius: float) -> float:
        """Estimated size of the tree of this radius."""
        none, wide = np.zeros(len(self.centre)), np.full(len(self.centre), 1 << 40)
        unboxed = Quadratic(self.frame.factor.factor, self.centre, none, none, none, -wide, wide)
        return float(estimate_nodes(unboxed, radius, PROBES, 0))

    def walk(self, radius: float) -> Walk:
        """A walk for codes cheaper than ``radius``."""
        return new_walk(self.codes.features, radius)

    def walk_on(self, walk: Walk, budget: int) -> int:
        """Visit at most ``budget`` nodes; ``walk.best`` holds codes (n,) once it found any."""
        return walk_lattice(self.form, walk, budget)

    def proves(self, cost: float, upper: float) -> float:
        """Valid lower bound on the error (energy units) from the cost of a finished walk.

        ``upper``: an error attained. Below zero where the Gram's curvature may take the form there.
        """
        codes, centred = self.codes, self.centred
        room, square = farthest(codes, codes.factor, centred, np.array([upper]))
        total = centred.value + cost - self.slack(float(room[0]), float(np.sqrt(square[0])))
        error = codes.to_error(np.asarray(total, np.longdouble)).astype(np.float64)
        return float(np.nextafter(error[0], -np.inf))

    def slack(self, room: float, far: float) -> float:
        """How far computed costs can be from true ones.

        Args:
            room: upper bound on ``f(z) - value`` of the codes meant; far: on their ``||d||``.
        """
        frame, n = self.frame, len(self.centre)
        factor = frame.factor
        doubt = float(self.centred.doubt[0])
        norm = np.sqrt(room + doubt * far)  # of d in A
        c = np.sqrt(frame.trace) * self.drift
        length = frame.spread * (far + self.drift)
        smallest = factor.smallest - factor.shift - frame.formed
        if smallest > 0:
            length = min(length, (norm + c) / np.sqrt(smallest) * (1 + 1e-12))
        unit = (n + 24) * 2.0**-53
        size = np.sqrt(factor.trace) * length  # bounds || |R| |y - y*| ||
        spread = frame.formed + factor.residual + factor.shift
        top = np.sqrt((norm + c) ** 2 + spread * length * length)  # ||R (y - y*)||
        product = 4 * unit * size * top + 4 * (unit * size) ** 2
        moved = 2 * c * (norm + c)
        return (
            product + spread * length * length + moved + doubt * far + 8 * unit * (room + top * top)
        ) * (1 + 1e-6)


@dataclass(frozen=True)
class Reduction:
    """The reduced basis of a chunk's Gram, and how many times fewer nodes it promises."""

    gram: Floats
    basis: Basis | None
    gain: float

    @property
    def worthwhile(self) -> bool:
        """Whether channels should be searched in it."""
        return self.gain > WORTHWHILE_GAIN

    @cached_property
    def frame(self) -> Frame | None:
        """The Gram's own, for all channels that no end of the box draws."""
        return (
            None if self.basis is None else make_frame(self.gram.astype(np.longdouble), self.basis)
        )


def reduce_chunk(codes: CodeProblem) -> Reduction:
    """Reduce the Gram of all channels; no gain where the inputs themselves are reduced."""
    none = Reduction(codes.gram, None, 1.0)
    basis = reduced_basis(codes.gram) if codes.features <= MOST_INPUTS else None
    if basis is None or basis.trivial:
        return none
    columns = basis.columns.astype(np.float64)
    form = columns.T @ codes.gram @ columns
    try:
        order = search_order(np.linalg.inv(form))
        reduced = np.diag(np.linalg.cholesky(form[np.ix_(order, order)])).astype(np.float64)
    except (ArithmeticError, np.linalg.LinAlgError):
        return none  # singular to working precision, in this basis too
    plain = np.diag(codes.factor.factor).astype(np.float64)
    return Reduction(codes.gram, basis, gain(plain, reduced))


def make_frame(form: Extended, basis: Basis) -> Frame | None:
    """Transform and factor a form (n, n); None if it is too nearly singular."""
    columns = basis.columns.astype(np.longdouble)
    transformed = columns.T @ form @ columns
    absolute = np.abs(basis.columns).astype(np.float64)
    size = absolute.T @ np.abs(form).astype(np.float64) @ absolute
    # two products with U, of as many terms as its columns have entries (adding zeros rounds
    # nothing), their mean and the diagonal of the form; eps is twice the unit roundoff
    terms = int(np.count_nonzero(basis.columns, axis=0).max())
    gamma = (2 * terms + 4) * float(np.finfo(np.longdouble).eps)
    formed = gamma * min(float(np.linalg.norm(size)), float(size.sum(axis=1).max()))
    try:
        factor = factorise((transformed + transformed.T) / 2)
    except (ArithmeticError, np.linalg.LinAlgError):
        return None
    trace = float(np.trace(form)) * (1 + 1e-12)
    turned = replace(factor, order=np.arange(len(form)))
    return Frame(basis.ordered(factor.order), turned, formed, trace)


def make_lattice(single: CodeProblem, reduction: Reduction) -> Lattice | None:
    """The one-channel problem in a basis reduced for it, or None if there is none."""
    centred = centre(single, single.start)
    point, price = centred.point[0], np.abs(centred.slope[0])
    fold = price / float(single.hi - single.lo) * (1 - 2.0**-40)
    frame = reduction.frame
    if fold.any():
        basis = reduced_basis(single.gram + np.diag(fold), reduction.basis)
        form = single.gram.astype(np.longdouble) + np.diag(fold.astype(np.longdouble))
        frame = None if basis is None else make_frame(form, basis)
    if frame is None:
        return None
    basis = frame.basis
    nearest = np.rint(point)
    whole = np.rint(basis.inverse @ (point - nearest))
    origin = nearest + basis.columns @ whole
    far = np.linalg.norm(np.maximum(single.hi - origin, origin - single.lo))
    reach = frame.spread * float(far)  # bounds |y| of codes in the box
    largest = float(np.abs(basis.columns).sum(axis=1).max()) * reach + float(np.abs(origin).max())
    if not 2 * largest < EXACT:
        return None
    middle, drift = _middle(basis, point - origin)
    return Lattice(single, centred, frame, middle, origin, price, fold, drift)


def _middle(basis: Basis, offset: Floats) -> tuple[Floats, float]:
    """Doubles y* near ``U^-1 offset`` and a bound on ``||offset - U y*||``."""
    middle = (basis.inverse.astype(np.longdouble) @ offset.astype(np.longdouble)).astype(np.float64)
    columns = basis.columns.astype(np.longdouble)
    left = offset.astype(np.longdouble) - columns @ middle.astype(np.longdouble)
    size = np.abs(offset) + np.abs(columns) @ np.abs(middle)
    rounding = 4 * (len(offset) + 8) * np.finfo(np.longdouble).eps * size
    return middle, float(np.linalg.norm((np.abs(left) + rounding).astype(np.float64))) * (1 + 1e-12)
