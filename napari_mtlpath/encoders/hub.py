"""Files of the Hugging Face Hub: fetched only for an encoder that the user named, checked like any other file."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

HUB_PREFIX = "hf-hub:"


class HubError(OSError):
    """Something could not be fetched; the message says what to do."""


def hub_file(repository: str, filename: str) -> Path:
    """Return the local path of a file of a Hub repository ("ORG/NAME"), fetching it where it is not there yet.

    Raises
    ------
    HubError
        Without internet, without access, or when there is no such repository or file.
    """
    from huggingface_hub import hf_hub_download

    with hub_errors(repository):
        return Path(hf_hub_download(repository, filename))


@contextlib.contextmanager
def hub_errors(repository: str) -> Iterator[None]:
    """Turn what huggingface_hub raises into one HubError sentence."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise HubError(
            f"Access to {repository!r} must be granted first: accept its terms on the Hub and run 'hf auth login'."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(f"The Hub has no repository {repository!r} that you may read. Check the spelling.") from error
    except errors.LocalEntryNotFoundError as error:
        raise HubError(
            f"The encoder {repository!r} is not on this machine and the Hub cannot be reached. "
            "Connect once to download it, or choose an encoder that comes with its weights."
        ) from error
    except errors.EntryNotFoundError as error:
        raise HubError(
            f"{repository!r} offers no safetensors weights; files that can run code are not loaded. "
            "Ask its authors for safetensors, or choose another encoder."
        ) from error
    except (OSError, errors.HfHubHTTPError, errors.HFValidationError) as error:
        raise HubError(f"Fetching {repository!r} from the Hub failed: {error}.") from error
