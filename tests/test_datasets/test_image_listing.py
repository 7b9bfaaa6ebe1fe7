"""Which files of a folder are images, and that everything else is said."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from image_trees import write_csv, write_image, write_market

from fusionreid.datasets import CsvDataset, MarketStyleDataset, image_listing
from fusionreid.datasets.image_listing import list_images, why_not_regular
from fusionreid.datasets.transforms import read_image
from fusionreid.errors import (
    DatasetFormatError,
    DatasetNotFoundError,
    GalleryError,
    ImageDecodeError,
)
from fusionreid.gallery.image_folder import find_image_files


def names(listing: image_listing.ImageListing) -> list[str]:
    return [os.path.relpath(path, listing.folder) for path in listing.paths]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two images."""
    write_image(tmp_path / 'images' / 'b.JPG')
    write_image(tmp_path / 'images' / 'deep' / 'a.png')
    return tmp_path / 'images'


def test_linked_images_and_folders_are_taken(folder: Path, tmp_path: Path) -> None:
    outside = write_image(tmp_path / 'elsewhere' / 'deep' / 'c.jpg')
    (folder / 'link.jpg').symlink_to(outside)
    (folder / 'a_first').symlink_to(outside.parent.parent)
    listing = list_images(folder, below=True)
    assert names(listing) == ['a_first/deep/c.jpg', 'b.JPG', 'deep/a.png', 'link.jpg']
    assert listing.skipped == {}
    root = tmp_path / 'root'
    root.symlink_to(folder)
    assert len(list_images(root, below=True).paths) == 4


def test_no_folder_is_read_twice_and_no_loop_is_followed(folder: Path, tmp_path: Path) -> None:
    write_image(tmp_path / 'beside.jpg')
    for name, target in {
        'a_way': folder / 'deep',
        'self': folder,
        'up': folder.parent,
        'deep/back': folder,
        'ring': folder / 'ring',
        'gone.jpg': folder / 'nowhere.jpg',
    }.items():
        (folder / name).symlink_to(target)
    listing = list_images(folder, below=True)
    # What has a name of its own keeps it.
    assert names(listing) == ['b.JPG', 'deep/a.png']
    assert {reason: sorted(names) for reason, names in listing.skipped.items()} == {
        'links to a folder that holds them': ['deep/back', 'self', 'up'],
        'ways to a folder that is read already': ['a_way'],
        'entries that are no regular file (a link that leads nowhere)': ['gone.jpg', 'ring'],
    }


def test_two_folders_that_link_to_each_other(tmp_path: Path) -> None:
    for one, other in (('a', 'b'), ('b', 'a')):
        write_image(tmp_path / one / 'x.jpg')
        (tmp_path / one / 'other').symlink_to(tmp_path / other)
    assert names(list_images(tmp_path, below=True)) == ['a/x.jpg', 'b/x.jpg']
    assert names(list_images(tmp_path / 'a', below=True)) == ['other/x.jpg', 'x.jpg']


def test_everything_else_is_counted_and_named(folder: Path) -> None:
    os.mkfifo(folder / 'pipe.jpg')
    server = socket.socket(socket.AF_UNIX)
    server.bind(os.path.relpath(folder / 'socket.png'))
    (folder / 'device.jpg').symlink_to('/dev/zero')
    for name in ('.hidden.jpg', 'Thumbs.db', 'x.gif', 'y.GIF', 'z.heic', 'no_ending'):
        (folder / name).touch()
    (folder / '.cache').mkdir()
    write_image(folder / '.cache' / 'c.jpg')
    (folder / 'folder.jpg').mkdir()
    listing = list_images(folder, below=True)
    server.close()
    assert names(listing) == ['b.JPG', 'deep/a.png']
    assert listing.skipped == {
        'entries that are no regular file (a named pipe)': ['pipe.jpg'],
        'entries that are no regular file (a socket)': ['socket.png'],
        'entries that are no regular file (a device)': ['device.jpg'],
        'hidden files and folders': ['.cache', '.hidden.jpg'],
        'files that are no images': ['Thumbs.db', 'no_ending'],
        'images of a format that is not read (.gif)': ['x.gif', 'y.GIF'],
        'images of a format that is not read (.heic)': ['z.heic'],
    }
    assert f'{folder}: not taken: 2 hidden files and folders: .cache, .hidden.jpg' in (
        listing.summary()
    )
    flat = list_images(folder)
    assert names(flat) == ['b.JPG']
    assert flat.skipped['sub-folders'] == ['deep', 'folder.jpg']


def test_the_record_of_rendered_people_is_no_surprise(folder: Path) -> None:
    (folder / 'synthetic.json').touch()
    (folder / 'other.json').touch()
    assert list_images(folder).skipped['files that are no images'] == ['other.json']


def test_a_folder_that_cannot_be_read_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = os.scandir

    def refuse(path):
        if os.path.basename(path) == 'deep':
            raise PermissionError(13, 'Permission denied', path)
        return honest(path)

    # What chmod does, which means nothing to root.
    monkeypatch.setattr(os, 'scandir', refuse)
    listing = list_images(folder, below=True)
    assert names(listing) == ['b.JPG']
    assert listing.skipped == {'folders that cannot be read': ['deep']}
    with pytest.raises(DatasetNotFoundError, match='deep.* cannot be read: Permission denied'):
        list_images(folder / 'deep')


def test_only_regular_files_are_opened(folder: Path) -> None:
    pipe = folder / 'pipe.jpg'
    os.mkfifo(pipe)
    assert why_not_regular(pipe) == 'a named pipe'
    assert why_not_regular(folder / 'nothing.jpg') == 'missing'
    assert why_not_regular(folder / 'a\0b.jpg') is not None
    # Without a writer, opening a pipe would wait forever.
    with pytest.raises(ImageDecodeError, match=r'pipe\.jpg.*a named pipe, not a file'):
        read_image(str(pipe))
    with pytest.raises(ImageDecodeError, match='a device, not a file'):
        read_image('/dev/zero')
    with pytest.raises(ImageDecodeError, match='a folder, not a file'):
        read_image(str(folder))


def test_a_folder_without_images_says_what_there_is(tmp_path: Path) -> None:
    (tmp_path / 'a.gif').touch()
    with pytest.raises(GalleryError, match=r'there is no image .*not taken: 1 images of .*a\.gif'):
        find_image_files(tmp_path)


def test_data_sets_say_what_they_do_not_take(tmp_path: Path) -> None:
    root = write_market(tmp_path / 'm')
    (root / 'query' / 'x.gif').touch()
    os.mkfifo(root / 'query' / '0001_c1.jpg')
    linked = write_image(tmp_path / 'elsewhere.jpg')
    (root / 'query' / '0005_c6.jpg').symlink_to(linked)
    dataset = MarketStyleDataset(str(root), split='query')
    assert len(dataset) == 3
    notes = '\n'.join(dataset.metainfo['notes'])
    assert '1 images of a format that is not read (.gif): x.gif' in notes
    assert '(a named pipe): 0001_c1.jpg' in notes
    for name in ('one.jpg', 'two.jpg'):
        write_image(root / 'query' / name)
    with pytest.raises(DatasetFormatError, match=r"'one\.jpg' .* 1 others: two\.jpg\)"):
        MarketStyleDataset(str(root), split='query')


def test_a_table_may_list_links_but_no_pipe(tmp_path: Path) -> None:
    root = write_csv(tmp_path / 'c', ['a.jpg,1,0,train', 'b.jpg,1,0,train'])
    (root / 'a.jpg').unlink()
    (root / 'a.jpg').symlink_to(write_image(tmp_path / 'there.jpg'))
    assert len(CsvDataset(str(root), 'people.csv')) == 2
    (root / 'b.jpg').unlink()
    os.mkfifo(root / 'b.jpg')
    with pytest.raises(DatasetNotFoundError, match=r"1 of the 2 .*b\.jpg' \(a named pipe\)"):
        CsvDataset(str(root), 'people.csv')
