"""-> data/synthetic/videos, data/synthetic/faces, reports/contact_sheet.png: the embedded talking faces."""

from pathlib import Path

from _run import run


def main() -> None:
    from fabnet.config import load_params
    from fabnet.figures.contact_sheet import contact_sheet
    from fabnet.files import atomic_file
    from fabnet.synthetic.faces import write_faces
    from fabnet.synthetic.samples import sample_sheet
    from fabnet.synthetic.videos import write_videos

    params = load_params().synthesize
    write_videos(Path("data/synthetic/videos"), params)
    write_faces(Path("data/synthetic/faces"), params)
    figure = contact_sheet(*sample_sheet(params))
    with atomic_file("reports/contact_sheet.png") as temporary:
        figure.savefig(temporary, dpi=160, metadata={"Software": None})


if __name__ == "__main__":
    run(main)
