"""-> data/synthetic/{videos, faces, contact_sheet.png}: the bundled synthetic talking faces."""

from pathlib import Path

from _run import run


def main() -> None:
    from fabnet.config import load_params
    from fabnet.figures.pictures import save
    from fabnet.figures.sheets import contact_sheet
    from fabnet.synthetic.faces import sample_sheet, write_faces
    from fabnet.synthetic.videos import write_videos

    params = load_params().synthesize
    write_videos(Path("data/synthetic/videos"), params)
    write_faces(Path("data/synthetic/faces"), params)
    save(contact_sheet(*sample_sheet(params)), "data/synthetic/contact_sheet.png", dpi=160)


if __name__ == "__main__":
    run(main)
