"""The YAML files of the 2019 PaddlePaddle library, read as they are."""

from videozoo.config_v1.files import MODELS as MODELS
from videozoo.config_v1.files import SPELLINGS as SPELLINGS
from videozoo.config_v1.files import is_v1 as is_v1
from videozoo.config_v1.files import parse as parse
from videozoo.config_v1.files import translate as translate
