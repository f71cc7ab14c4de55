"""The oldest packages: pyproject.toml is the one source, and says nothing that cannot be tested."""

import pytest
from packaging.version import Version
from tools.minimum import lower_bounds, lowest_python, pins, read_project, requirements

PINNED = "numpy==2.4.6\nPyTest==9.2.0\nruff==0.17.6\nx_y==1\n"


def test_what_is_required_gets_its_lower_bound_and_the_tools_their_pins():
    project = {
        "dependencies": ["numpy>=1.26"],
        "optional-dependencies": {"h5": ["h5py>=3.11"], "dev": ["h5py", "pytest", "ruff", "x-y"]},
    }

    found = requirements(project, PINNED)

    assert found.split() == ["h5py==3.11", "numpy==1.26", "pytest==9.2.0", "x-y==1"]


def test_what_is_known_to_fail_above_leaves_the_lower_bound_as_it_is():
    project = {"dependencies": ["av>=17.1,<19"], "optional-dependencies": {}}

    assert lower_bounds(project) == {"av": "17.1"}


@pytest.mark.parametrize("requirement", ["numpy", "numpy<3", "numpy>=1.26,!=2.0", "numpy>=1 ; x"])
def test_another_form_of_requirement_is_refused(requirement: str):
    with pytest.raises(ValueError, match="expected name>=version"):
        lower_bounds({"dependencies": [requirement], "optional-dependencies": {}})


def test_two_bounds_of_one_package_are_refused():
    project = {"dependencies": ["a>=1"], "optional-dependencies": {"x": ["a>=2"]}}
    with pytest.raises(ValueError, match="a: two lower bounds, 1 and 2"):
        lower_bounds(project)


def test_what_is_tested_last_is_not_below_what_is_allowed():
    bounds, newest = lower_bounds(read_project()), pins()

    assert {name for name in bounds if name in newest} >= {"numpy", "torch", "av", "onnxruntime"}
    below = {
        name for name in bounds.keys() & newest if Version(newest[name]) < Version(bounds[name])
    }
    assert not below
    assert lowest_python(read_project()) == "3.11"
