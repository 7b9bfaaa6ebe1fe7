import numpy as np
import pytest
from PIL import Image

from fusionreid.visualization import MapPanel, draw_rank_lists, select_queries, tiles
from fusionreid.visualization.color_scale import ColorScale
from fusionreid.visualization.rank_list import BAR_HEIGHT, STRIP_HEIGHT
from fusionreid.visualization.style import QUERY_COLOR, RIGHT_COLOR, UNKNOWN_COLOR, WRONG_COLOR


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """Collect what is logged while something is drawn."""
    lines: list[str] = []
    monkeypatch.setattr(tiles, 'print_log', lambda text, **_: lines.append(text))
    return lines


# Upper left corners of the query's and the answers' frames in the first row, and the row's height.
QUERY_LEFT, ANSWER_LEFT, STEP, TOP, ROW = 36, 220, 154, 146, 334
FRAME_WIDTH, FRAME_HEIGHT = 140, 268


@pytest.fixture
def data(tmp_path):
    """Two queries and five gallery images in colors of their own, with answers for each query."""
    colors = {
        'q0': (10, 20, 30),
        'q1': (40, 50, 60),
        **{f'g{i}': (100 + 20 * i, 90, 80) for i in range(5)},
    }
    for name, color in colors.items():
        Image.new('RGB', (64, 128), color).save(tmp_path / f'{name}.png')
    return dict(
        query_paths=[tmp_path / 'q0.png', tmp_path / 'q1.png'],
        query_ids=[1, 2],
        query_cameras=[0, 1],
        gallery_paths=[tmp_path / f'g{i}.png' for i in range(5)],
        gallery_ids=[1, 2, 1, 3, 2],
        gallery_cameras=[1, 0, 2, 0, -1],
        indices=np.array([[0, 3, 2], [1, 0, -1]]),
        distances=np.array([[0.1, 0.2, 0.3], [0.4, 0.5, np.inf]]),
        title='Rank lists',
        protocol='protocol',
    )


def frame_pixels(picture, left, top):
    """Colors in the middle of the four sides of a frame."""
    return {
        picture.getpixel((left + 2, top + FRAME_HEIGHT // 2)),
        picture.getpixel((left + FRAME_WIDTH - 3, top + FRAME_HEIGHT // 2)),
        picture.getpixel((left + FRAME_WIDTH // 2, top + 2)),
        picture.getpixel((left + FRAME_WIDTH // 2, top + FRAME_HEIGHT - 3)),
    }


def center_pixel(picture, left, top):
    return picture.getpixel((left + FRAME_WIDTH // 2, top + FRAME_HEIGHT // 2))


def test_frames_tell_right_from_wrong(data):
    picture = draw_rank_lists(**data)
    expected = [[True, False, True], [True, False, None]]
    for row, answers in enumerate(expected):
        top = TOP + row * ROW
        assert frame_pixels(picture, QUERY_LEFT, top) == {QUERY_COLOR}
        for rank, right in enumerate(answers):
            color = {True: RIGHT_COLOR, False: WRONG_COLOR, None: (255, 255, 255)}[right]
            assert frame_pixels(picture, ANSWER_LEFT + rank * STEP, top) == {color}


def test_every_picture_stands_in_its_place(data):
    picture = draw_rank_lists(**data)
    assert center_pixel(picture, QUERY_LEFT, TOP) == (10, 20, 30)
    assert center_pixel(picture, QUERY_LEFT, TOP + ROW) == (40, 50, 60)
    for row, indices in enumerate(data['indices']):
        for rank, index in enumerate(indices[indices >= 0]):
            seen = center_pixel(picture, ANSWER_LEFT + rank * STEP, TOP + row * ROW)
            assert seen == (100 + 20 * index, 90, 80)


def test_badge_differs_between_right_and_wrong_by_shape_too(data):
    picture = draw_rank_lists(**data)

    def white_parts(rank):
        left = ANSWER_LEFT + rank * STEP + FRAME_WIDTH - 39
        badge = np.asarray(picture.crop((left, TOP + 9, left + 30, TOP + 39)))
        return (badge[8:22, 8:22] > 200).all(axis=2)

    assert white_parts(0).any()
    assert white_parts(1).any()
    assert (white_parts(0) != white_parts(1)).any()
    assert (white_parts(0) == white_parts(2)).all()


def test_size_follows_queries_and_answers(data):
    size = draw_rank_lists(**data).size
    wider = data | dict(
        indices=np.full((2, 8), -1), distances=np.zeros((2, 8)), average_precision=[0.5, 1.0]
    )
    assert draw_rank_lists(**wider).size == (ANSWER_LEFT + 8 * STEP - 14 + 36, size[1])
    fewer = {key: value[:1] if key.startswith('query') else value for key, value in data.items()}
    fewer |= dict(indices=data['indices'][:1], distances=data['distances'][:1])
    assert draw_rank_lists(**fewer).size == (size[0], size[1] - ROW)
    # A long protocol must not be cut off.
    assert draw_rank_lists(**data | dict(protocol='long ' * 60)).width > size[0]


def test_pictures_keep_their_aspect_ratio(data, tmp_path):
    Image.new('RGB', (50, 50), (1, 2, 3)).save(tmp_path / 'square.png')
    picture = draw_rank_lists(**data | dict(query_paths=[tmp_path / 'square.png'] * 2))
    middle = TOP + FRAME_HEIGHT // 2
    column = QUERY_LEFT + FRAME_WIDTH // 2
    assert picture.getpixel((QUERY_LEFT + 8, middle)) == (1, 2, 3)
    assert picture.getpixel((column, middle - 60)) == (1, 2, 3)
    assert picture.getpixel((column, middle - 70)) != (1, 2, 3)


def test_pictures_show_what_the_model_sees(data, tmp_path):
    """Gray of 16 bits is scaled, and images are turned upright."""
    gray = np.full((100, 50), 80 * 257, np.uint16)
    Image.fromarray(gray).save(tmp_path / 'gray.png')
    lying = Image.new('RGB', (100, 50), (200, 0, 0))
    lying.paste((0, 0, 200), (50, 0, 100, 50))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    lying.save(tmp_path / 'lying.png', exif=exif)
    column = QUERY_LEFT + FRAME_WIDTH // 2
    picture = draw_rank_lists(**data | dict(query_paths=[tmp_path / 'gray.png'] * 2))
    assert picture.getpixel((column, TOP + FRAME_HEIGHT // 2)) == (80, 80, 80)
    picture = draw_rank_lists(**data | dict(query_paths=[tmp_path / 'lying.png'] * 2))
    assert picture.getpixel((column, TOP + FRAME_HEIGHT // 4)) == (200, 0, 0)
    assert picture.getpixel((column, TOP + 3 * FRAME_HEIGHT // 4)) == (0, 0, 200)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            dict(query_ids=[1]),
            r'query paths, ids and cameras must be equally many, got \[2, 1, 2\]',
        ),
        (dict(gallery_cameras=[0] * 4), 'gallery paths, ids and cameras'),
        (dict(indices=np.zeros((3, 2), int)), r'shape \(2 queries, top k >= 1\), got \(3, 2\)'),
        (dict(indices=np.zeros((2, 0), int)), 'top k >= 1'),
        (dict(distances=np.zeros((2, 2))), r'shape of indices \(2, 3\), got \(2, 2\)'),
        (dict(indices=np.array([[0, 1, 5], [0, 1, 2]])), r'lie in \[-1, 4\], .* to 5'),
        (dict(indices=np.array([[0, 1, -2], [0, 1, 2]])), 'from -2 to 2'),
        (dict(average_precision=[0.5]), 'average_precision must have 2 values, got 1'),
        (dict(gallery_cameras=[0, 0, 2, 0, -1]), r'g0.png has the identity \(1\) and the camera'),
    ],
)
def test_input_that_does_not_fit_is_refused(data, change, message):
    with pytest.raises(ValueError, match=message):
        draw_rank_lists(**data | change)


def test_answers_of_unknown_cameras_are_accepted(data):
    unknown = dict(query_cameras=[-1, -1], gallery_cameras=[-1] * 5)
    assert frame_pixels(draw_rank_lists(**data | unknown), ANSWER_LEFT, TOP) == {RIGHT_COLOR}


def test_file_that_is_no_image_is_marked_and_named(data, tmp_path, said):
    broken = tmp_path / 'broken.jpg'
    broken.write_bytes(b'no image')
    picture = draw_rank_lists(**data | dict(query_paths=[broken, 'missing.png']))
    for row in range(2):
        assert frame_pixels(picture, QUERY_LEFT, TOP + row * ROW) == {UNKNOWN_COLOR}
    (first, second) = said
    assert f"'{broken}' cannot be decoded" in first
    assert "'missing.png' does not exist" in second


def test_selected_queries_go_from_easy_to_hard():
    scores = np.array([0.2, 1.0, np.nan, 0.6, 0.8, 0.4, 0.0])
    assert select_queries(scores, 3) == [1, 3, 6]
    assert select_queries(scores, 1) == [1]
    assert select_queries(scores, 100) == [1, 4, 3, 5, 0, 6]
    chosen = select_queries(np.random.default_rng(0).random(1000), 8)
    assert len(set(chosen)) == 8
    assert chosen == select_queries(np.random.default_rng(0).random(1000), 8)


def test_equal_scores_are_chosen_by_index():
    assert select_queries([1.0, 1.0, 1.0], 3) == [0, 1, 2]


@pytest.mark.parametrize(('scores', 'number'), [([0.5], 0), ([float('nan')] * 3, 2), ([], 1)])
def test_no_query_to_select_is_refused(scores, number):
    with pytest.raises(ValueError, match='num_queries|nothing to choose'):
        select_queries(scores, number)


def test_reasons_are_drawn_in_a_strip_below_their_list(data):
    """Query and answer side by side, through maps of one scale; other lists stay as they are."""
    gray = np.full((64, 32, 3), 100, np.uint8)
    upper, lower = np.zeros((4, 2)), np.zeros((4, 2))
    upper[0], lower[-1] = 8, 4
    reasons = {(0, 1): (MapPanel(gray, upper), MapPanel(gray, lower))}
    plain = draw_rank_lists(**data)
    picture = draw_rank_lists(**data, reasons=reasons)
    assert picture.size == (plain.width, plain.height + STRIP_HEIGHT)
    scale = ColorScale.for_maps([upper, lower])
    top, left = TOP + FRAME_HEIGHT + 52, ANSWER_LEFT + STEP
    assert picture.getpixel((left + 32, top + 16)) == tuple(scale.lay_over(gray, upper)[0, 0])
    seen = picture.getpixel((left + 140 - 32, top + 112))
    assert seen == tuple(scale.lay_over(gray, lower)[-1, 0])
    assert picture.getpixel((ANSWER_LEFT + 32, top + 16)) == (255, 255, 255)
    # The bar stands below the query, from nothing to most.
    bar = np.asarray(picture.crop((QUERY_LEFT, top, QUERY_LEFT + 140, top + 128))).sum(2)
    assert ((bar[:, 0] < 30) & (bar[:, 70] > 200) & (bar[:, -1] > 500)).sum() == BAR_HEIGHT
    below = (0, plain.height - ROW, plain.width, plain.height)
    moved = (0, picture.height - ROW, picture.width, picture.height)
    assert (np.asarray(plain.crop(below)) == np.asarray(picture.crop(moved))).all()
