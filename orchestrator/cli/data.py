"""Data sets: fetch, check."""

import click

from orchestrator.system.terminal import echo


@click.group()
def data() -> None:
    """Fetch data sets from their publishers and check them.

    ROSETTA_DATA_MIRROR names a folder, URL or Azure container with the original files, for machines without internet;
    ROSETTA_CACHE names the folder where data is kept, ~/.cache/rosetta if unset.
    """


@data.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
def fetch(names: tuple[str, ...]) -> None:
    """Download and verify data sets: cifar-10 and imdb unless others are named. An interrupted download resumes.

    \b
    examples:
      rosetta data fetch
      rosetta data fetch densenet121-torchvision densenet121-keras
      ROSETTA_DATA_MIRROR=/mnt/originals rosetta data fetch imdb
      ROSETTA_DATA_MIRROR=az://account/originals rosetta data fetch
    """
    from orchestrator.data import datasets

    for name, folder in datasets.fetch(names, say=echo).items():
        echo(f"{name}: {folder}")


@data.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
def check(names: tuple[str, ...]) -> None:
    """Compare every file of the data sets with its checksum; exit code 7 if one is missing or wrong.

    They are cifar-10 and imdb unless others are named. If an engine answers, its data-set volumes are checked too.

    \b
    example:
      rosetta data check
    """
    from orchestrator.data import datasets
    from orchestrator.engines import client, volumes
    from orchestrator.errors import EngineError

    wanted = [dataset.name for dataset in datasets.named(names)]
    try:
        api = client.Connection().api
    except EngineError as error:
        echo(f"note: volumes were not checked: {error.what}", err=True)
    else:
        volumes.report_check(api, wanted, echo)
    datasets.report_check(wanted, say=echo)
