"""The studio's rasteriser: nearest triangle, exact interpolation, the same result whatever the order."""

import torch

from generator.studio.rasteriser import rasterise, splat


def square(x0: float, y0: float, side: float, depth: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Two triangles, counter-clockwise for a viewer with rows running down."""
    corners = torch.tensor([[x0, y0], [x0, y0 + side], [x0 + side, y0 + side], [x0 + side, y0]])
    points = torch.cat([corners, torch.full((4, 1), depth)], 1)
    return points, torch.tensor([[0, 1, 2], [0, 2, 3]])


def many_triangles(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    middle = torch.rand(count, 1, 2, generator=random) * 80 - 8
    size = torch.rand(count, 1, 1, generator=random) ** 4 * 40 + 0.5
    corners = middle + (torch.rand(count, 3, 2, generator=random) - 0.5) * size
    depth = torch.rand(count, 3, 1, generator=random) * 20 + 50
    return torch.cat([corners, depth], 2).view(-1, 3), torch.arange(3 * count).view(-1, 3)


def test_a_square_covers_the_pixels_whose_centres_lie_inside() -> None:
    points, faces = square(2.0, 3.0, 5.0, 10.0)
    seen = torch.isfinite(rasterise(points, faces, 16).z_buffer)
    wanted = torch.zeros(16, 16, dtype=torch.bool)
    wanted[3:8, 2:7] = True
    assert torch.equal(seen, wanted)


def test_the_nearer_triangle_hides_the_farther_one_in_either_order() -> None:
    near, faces = square(4.0, 4.0, 4.0, 8.0)
    far, _ = square(0.0, 0.0, 16.0, 9.0)
    for first, second in ((near, far), (far, near)):
        surface = rasterise(torch.cat([first, second]), torch.cat([faces, faces + 4]), 16)
        assert bool((surface.z_buffer[4:8, 4:8] == 8.0).all())
        assert int((surface.z_buffer == 9.0).sum()) == 16 * 16 - 16


def test_back_faces_are_dropped_unless_asked_for() -> None:
    points, faces = square(2.0, 2.0, 8.0, 5.0)
    back = faces.flip(1)
    assert len(rasterise(points, back, 16).pixel) == 0
    assert len(rasterise(points, back, 16, cull=torch.tensor([False, False])).pixel) == 64


def test_values_are_linear_across_a_triangle() -> None:
    points = torch.tensor([[0.0, 0.0, 4.0], [0.0, 60.0, 4.0], [60.0, 0.0, 4.0]])
    faces = torch.tensor([[0, 1, 2]])
    surface = rasterise(points, faces, 64)
    values = surface.interpolate(faces, points[:, :2])
    centres = torch.stack([surface.pixel % 64 + 0.5, surface.pixel // 64 + 0.5], 1)
    assert len(values) > 1500
    assert float((values - centres).abs().max()) < 1e-3


def test_every_pixel_shows_what_a_pixel_by_pixel_search_finds() -> None:
    points, faces = many_triangles(300)
    surface = rasterise(points, faces, 64)
    x = torch.arange(64) + 0.5
    column, row = x.repeat(64), x.repeat_interleave(64)
    best = torch.full((64 * 64,), torch.inf)
    for a, b, c in points[faces].double():
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area >= 0:
            continue
        wa = ((b[0] - column) * (c[1] - row) - (c[0] - column) * (b[1] - row)) / area
        wb = ((c[0] - column) * (a[1] - row) - (a[0] - column) * (c[1] - row)) / area
        depth = wa * a[2] + wb * b[2] + (1 - wa - wb) * c[2]
        inside = (wa >= 0) & (wb >= 0) & (wa + wb <= 1)
        best = torch.where(inside & (depth < best), depth, best.double()).float()
    found = surface.z_buffer.view(-1)
    assert int((torch.isfinite(found) != torch.isfinite(best)).sum()) <= 3  # centres right on an edge
    both = torch.isfinite(found) & torch.isfinite(best)
    assert int(((found - best).abs()[both] > 2e-3).sum()) <= 3
    assert int(both.sum()) > 1000


def test_the_order_of_triangles_does_not_matter() -> None:
    points, faces = many_triangles(400)
    shuffled = faces[torch.randperm(400, generator=torch.Generator().manual_seed(1))]
    assert torch.equal(rasterise(points, faces, 64).z_buffer, rasterise(points, shuffled, 64).z_buffer)


def test_points_are_drawn_before_the_surface_only() -> None:
    surface, faces = square(0.0, 0.0, 8.0, 5.0)
    points = torch.tensor([[1.5, 1.5, 4.0], [1.6, 1.4, 3.0], [2.5, 2.5, 6.0], [12.5, 2.5, 9.0], [99.0, 0.0, 1.0]])
    pixel, which = splat(points, rasterise(surface, faces, 16).z_buffer)
    assert dict(zip(pixel.tolist(), which.tolist(), strict=True)) == {1 * 16 + 1: 1, 2 * 16 + 12: 3}
