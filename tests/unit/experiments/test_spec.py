"""The study file: what is read, what is refused and how, what is written back."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from kyphos.errors import StudyError
from kyphos.experiments import list_protocols, protocol_text, read_study, study_hash, to_toml
from kyphos.experiments.arms import has_arms
from kyphos.experiments.explain import unit_of
from kyphos.experiments.spec import StudySpec
from kyphos.experiments.specimen import bone_cards
from kyphos.experiments.tables import Bone


@pytest.fixture
def study(tmp_path):
    """Return a function that writes a study file and reads it."""

    def read(text: str, *overrides: str) -> StudySpec:
        path = tmp_path / "case_a.toml"
        path.write_text(text)
        return read_study(path, overrides)

    return read


STUDIES = [name for name in list_protocols() if not has_arms(name)]  # comparisons: test_arms


@pytest.mark.parametrize("name", STUDIES)
def test_a_resolved_study_reads_back_equal(name, tmp_path):
    spec = read_study(name)
    path = tmp_path / "case.toml"
    path.write_text(to_toml(spec))
    again = read_study(path)
    assert again == spec
    assert study_hash(again) == study_hash(spec)
    assert "[[stage]]" in to_toml(spec)


@pytest.mark.parametrize("name", STUDIES)
def test_every_protocol_says_what_it_is(name):
    spec = read_study(name)
    assert spec.name == name
    assert spec.description
    assert "# " in protocol_text(name)


@pytest.mark.parametrize(
    "name", [name for name in STUDIES if name != "segment-kyphosis" and read_study(name).procedure]
)  # which is not cycled
def test_every_treatment_uses_the_pinned_defaults(name):
    spec = read_study(name)
    assert (spec.fracture.anterior_height_loss, spec.fracture.hold_s) == (0.25, 900.0)
    assert spec.procedure.preload_n == 100.0
    block = spec.cycling[0]
    assert (block.count, block.min_n, block.max_n, block.frequency_hz) == (500, 100.0, 600.0, 1.0)
    if spec.procedure.kind == "kyphoplasty":
        assert (spec.procedure.balloon_volume_ml, spec.procedure.balloon_pressure_limit_mpa) == (4.0, 2.0)
    if spec.procedure.kind == "none":
        assert spec.cement is None
    else:
        card = "calcium-phosphate" if "-cap" in name else "pmma"
        assert (spec.cement.card, spec.cement.volume_ml) == (card, 6.0)
    assert (spec.specimen.scan is None) == (name.endswith("-L1") or spec.specimen.is_segment)


def test_the_shape_of_the_cement_follows_the_procedure():
    assert read_study("kyphoplasty-pmma").cement.shape == "bolus"
    assert read_study("vertebroplasty-pmma").cement.shape == "interdigitated"
    assert read_study("vertebroplasty-pmma", ["cement.shape=bolus"]).cement.shape == "bolus"


def test_a_scan_brings_its_own_sizes_and_density(study):
    assert study("").specimen.vbmd_mg_per_cc == 80.0
    assert read_study("kyphoplasty-pmma").specimen.vbmd_mg_per_cc is None
    with pytest.raises(StudyError, match="does not apply when scan is given"):
        read_study("kyphoplasty-pmma", ["specimen.vbmd_mg_per_cc=60"])


@pytest.mark.parametrize(
    ("key", "vbmd"),
    [
        ("vbmd_mg_per_cc = 65.0", 65.0),
        ('bone = "normal"', 140.0),
        ('bone = "osteopenic"', 100.0),
        ('bone = "osteoporotic"', 70.0),
        ('bone = "severe"', 56.0),
        ("t_score = -2.5", 80.0),
        ("t_score = 0.0", 146.666667),
        ("t_score = -4.5", 26.666667),
        ("t_score = 4.0", 253.333333),
    ],
)
def test_density_by_number_name_or_t_score_is_one_number(study, key, vbmd):
    spec = study(f"[specimen]\n{key}")
    assert spec.specimen.vbmd_mg_per_cc == vbmd
    assert (spec.specimen.bone, spec.specimen.t_score) == (None, None)
    assert study_hash(spec) == study_hash(study(f"[specimen]\nvbmd_mg_per_cc = {vbmd}"))
    assert study(to_toml(spec)) == spec


def test_a_built_in_study_takes_another_bone():
    assert read_study("untreated-L1").specimen.vbmd_mg_per_cc == 80.0
    assert read_study("untreated-L1", ["specimen.bone=severe"]).specimen.vbmd_mg_per_cc == 56.0
    assert read_study("untreated-L1", ["specimen.vbmd_mg_per_cc=60.0"]).specimen.vbmd_mg_per_cc == 60.0


def test_the_names_of_bones_are_those_of_the_card():
    from kyphos.materials import BONE_CLASSES

    assert get_args(Bone) == BONE_CLASSES


def test_a_study_chooses_the_cards_of_its_bone(study):
    assert bone_cards(study("").specimen) == {}
    chosen = study('[specimen]\ntrabecular_card = "trabecular-morgan"\nendplate_card = "mine.toml"').specimen
    cards = bone_cards(chosen)
    assert cards["trabecular"] == "trabecular-morgan"
    assert set(cards) == {"trabecular", "superior_endplate", "inferior_endplate"}
    assert Path(cards["superior_endplate"]).is_absolute()
    other = study_hash(study('[specimen]\nshell_card = "shell-scaled"'))
    assert other != study_hash(study(""))
    with pytest.raises(StudyError, match="shell_card is for a meshed body"):
        read_study("ct-strength", ["specimen.shell_card=shell-scaled"])


def test_a_calibration_is_a_card_by_name_or_by_path(tmp_path):
    for name in ("ct.nii.gz", "labels.nii.gz"):
        (tmp_path / name).touch()
    text = '[specimen]\nscan = "ct.nii.gz"\nlabels = "labels.nii.gz"\nhu_calibration = "{}"\n'
    for given, resolved in (("hu-120kvp", "hu-120kvp"), ("own.toml", str(tmp_path / "own.toml"))):
        (tmp_path / "study.toml").write_text(text.format(given), encoding="utf-8")
        assert read_study(tmp_path / "study.toml").specimen.hu_calibration == resolved


def test_the_hash_tells_physics_from_presentation():
    spec = read_study("untreated-L1")
    for setting in ("output.pictures=false", "solver.threads=1", "name=other", "output.directory=x"):
        assert study_hash(read_study("untreated-L1", [setting])) == study_hash(spec)
    for setting in ("specimen.seed=2", "cycling.0.max_n=601", "solver.residual_tolerance=1e-7"):
        assert study_hash(read_study("untreated-L1", [setting])) != study_hash(spec)


PAIR = '[specimen]\nlevels = ["T12", "L1"]\ntreated = "L1"\n'
REFUSED = {
    "two densities": (
        '[specimen]\nvbmd_mg_per_cc = 60.0\nbone = "severe"',
        "vbmd_mg_per_cc and bone all say how dense the bone is; keep one of",
    ),
    "a name and a T-score": ('[specimen]\nt_score = -2.5\nbone = "severe"', "bone and t_score all say"),
    "unknown bone": (
        '[specimen]\nbone = "osteoporosis"',
        ":2: [specimen] bone = 'osteoporosis' is not known; did you mean",
    ),
    "T-score of another scale": ("[specimen]\nt_score = -25", "t_score = -25 is outside -4.5 to 4"),
    "calibration without a scan": ('[specimen]\nhu_calibration = "hu-120kvp"', "hu_calibration is given without scan"),
    "calibration of the sample": (
        '[specimen]\nscan = "sample:verse004_L2"\nlevels = ["L2"]\nhu_calibration = "hu-120kvp"',
        "does not apply to a sample scan, which is in mg/cm3",
    ),
    "bone of a scan": (
        '[specimen]\nscan = "sample:verse004_L2"\nlevels = ["L2"]\nbone = "severe"',
        "bone does not apply when scan is given",
    ),
    "unknown key": ("[fracture]\nhold = 1.0", ":2: [fracture] unknown key 'hold'; did you mean 'hold_s'?"),
    "unknown table": ("[cemnet]\nvolume_ml = 1.0", ":1: unknown key 'cemnet'; did you mean 'cement'?"),
    "g/cc": (
        "[specimen]\nvbmd_mg_per_cc = 0.08",
        ":2: [specimen] vbmd_mg_per_cc = 0.08 is outside 20 to 400 mg/cm3; if it was given in g/cm3, write 80",
    ),
    "kN": (
        "[[cycling]]\n[[cycling]]\nmax_n = 0.6",
        ":3: [[cycling]] item 1: max_n = 0.6 is outside 5 to 20000 N; if it was given in kN, write 600",
    ),
    "kN, where 0 is allowed": (
        "[procedure]\npreload_n = 0.1",
        "must be 0 or at least 5 N; if it was given in kN, write 100",
    ),
    "per cent": ("[fracture]\nanterior_height_loss = 25", "if it was given in per cent, write 0.25"),
    "psi": ("[procedure]\nballoon_pressure_limit_mpa = 250", "if it was given in psi, write 1.724"),
    "cubic millimetres": (
        "[cement]\nvolume_ml = 6e3",
        "outside 0.1 to 30 mL; if it was given in mm3, write 6",
    ),
    "text for a number": ('[cement]\nvolume_ml = "6"', ":2: [cement] volume_ml = '6' must be a number"),
    "truth for a number": ("[cement]\nvolume_ml = true", "volume_ml = True must be a number"),
    "not a number": ("[cement]\nvolume_ml = nan", "must be a finite number"),
    "fraction for a count": ("[[cycling]]\ncount = 1.5", "count = 1.5 must be a whole number"),
    "a distribution": ("[cement]\nvolume_ml = { normal = [6.0, 1.0] }", "only a sweep can draw from"),
    "unknown choice": (
        '[procedure]\nkind = "kifoplasty"',
        "did you mean 'kyphoplasty'? Allowed: 'kyphoplasty'",
    ),
    "single brackets": ("[cycling]\ncount = 5", "write [[cycling]], with double brackets"),
    "a value for a table": ("cement = 6.0", ":1: cement = 6.0 must be a table"),
    "valley above peak": ("[[cycling]]\nmin_n = 700.0", "min_n = 700 N must lie below max_n = 600 N"),
    "not TOML": ("[specimen]\nlevels = [", ":2: not valid TOML"),
    "no such vertebra": (
        '[specimen]\nlevels = ["L7"]',
        "'L7' is not a vertebra; allowed: T1 to T12, L1 to L5",
    ),
    "gaps between levels": ('[specimen]\nlevels = ["T12", "L2"]\ntreated = "L2"', "not neighbours"),
    "treated elsewhere": ('[specimen]\nlevels = ["L1"]\ntreated = "L2"', "not among levels"),
    "levels without discs": ('[specimen]\nlevels = ["T9", "T10"]\ntreated = "T10"', "lies within T11 to L5"),
    "a disc of a vertebra alone": ('[specimen]\ndisc_grade = "mild"', "disc_grade is for a segment of several levels"),
    "a disc elsewhere": (f"{PAIR}[specimen.discs.L4_L5]\ngrade = 'mild'", "no 'L4_L5'; allowed: T12_L1"),
    "density elsewhere": (f"{PAIR}level_vbmd_mg_per_cc = {{ L3 = 90.0 }}", "no 'L3'; allowed: T12, L1"),
    "no such density": (f"{PAIR}level_vbmd_mg_per_cc = {{ L1 = 0.09 }}", "L1 = 0.09"),
    "density of a scan": (
        f'{PAIR}scan = "sample:verse004_L2"\nlevel_vbmd_mg_per_cc = {{ L1 = 90.0 }}',
        "is read from the scan",
    ),
    "a spine of one vertebra": ('[specimen]\nspine = "verse004"', "spine is for a segment of several levels"),
    "a spine of other sizes": (
        f'{PAIR}spine = "verse004"\nlordosis_deg = 9.0',
        "lordosis_deg does not apply when spine",
    ),
    "a spine of other discs": (f'{PAIR}spine = "verse004"\ndiscs.T12_L1.height_mm = 9.0', "only grade applies"),
    "voxels of a segment": (
        f'{PAIR}scan = "sample:verse004_L2"\n[[stage]]\nkind = "voxel_stiffness"',
        "test one vertebra",
    ),
    "a drawn deposit in a turned scan": (
        f'{PAIR}scan = "sample:verse004_L2"\n[cement]\nshape = "file"\nfile = "{Path(__file__).as_posix()}"',
        "Use the treated level alone",
    ),
    "a follower without a segment": ('[test]\npath = "follower"', 'path = "follower" needs a segment'),
    "neighbours of none": ('[fracture]\nneighbours = "crush"', "remove the key neighbours"),
    "adjacent to nothing": ("[test]\nadjacent_n = 500.0", "has no neighbours"),
    "steepest slope of a segment": (
        f'{PAIR}[[stage]]\nkind = "test"\nrecord = ["steepest"]',
        '"steepest"] is for a single level',
    ),
    "a tilt under load cases": (
        f'{PAIR}[[stage]]\nkind = "test"\ntilt_deg = 2.0\nadjacent_n = 500.0\nrecord = ["adjacent"]\n'
        'load_cases = ["standing"]',
        "remove tilt_deg",
    ),
    "neighbours without a load": (f'{PAIR}[[stage]]\nkind = "test"\nrecord = ["adjacent"]', "adjacent_n is needed"),
    "posterior parts of a vertebra alone": (
        "[specimen]\nposterior = true",
        "posterior is for a segment of several levels",
    ),
    "scan without labels": ('[specimen]\nscan = "a.nii.gz"', "given without labels"),
    "labels without scan": ('[specimen]\nlabels = "a.nii.gz"', "given without scan"),
    "missing scan": ('[specimen]\nscan = "a.nii"\nlabels = "b.nii"', ":2: scan: no such file"),
    "unknown sample": ('[specimen]\nscan = "sample:me"', "no such sample; known: verse004_L2"),
    "unknown kind of stage": (
        '[[stage]]\nkind = "hole"',
        ":2: [[stage]] item 0: kind = 'hole' is not known; did you",
    ),
    "stage without kind": ('[[stage]]\nname = "a"', "[[stage]] item 0: the key 'kind' is missing"),
    "wrong key in a stage": (
        '[[stage]]\nkind = "hold"\nforce_n = 9.0\nduration = 3.0',
        ":4: [[stage]] item 0: unknown key 'duration'; did you mean 'duration_s'?",
    ),
    "hold at no force": ('[[stage]]\nkind = "hold"', "force_n is needed"),
    "two stages of one name": (
        '[[stage]]\nkind = "deflate"\n[[stage]]\nkind = "deflate"',
        "two stages are named",
    ),
    "stages against tables": (
        '[cement]\nvolume_ml = 3.0\n[[stage]]\nkind = "deflate"',
        "disagree from stage 0",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_named_located_and_advised(case, study):
    text, expected = REFUSED[case]
    with pytest.raises(StudyError) as caught:
        study(text)
    assert expected in str(caught.value)
    assert "case_a.toml" in str(caught.value)
    assert caught.value.exit_code == 2


def test_several_problems_are_listed_together(study):
    with pytest.raises(StudyError) as caught:
        study("[cement]\nvolume_ml = 0.0\n[mesh]\nelement_size = 2.0")
    lines = str(caught.value).splitlines()
    assert lines[0] == "2 problems:"
    assert "case_a.toml:2: [cement]" in lines[1]
    assert "case_a.toml:4: [mesh]" in lines[2]


@pytest.mark.parametrize("name", ["nothing.toml", "nothing", "no/such/study", "."])
def test_a_missing_study_is_said_with_the_built_in_ones(name):
    with pytest.raises(StudyError, match="kyphoplasty-pmma-L1"):
        read_study(name)


def test_a_close_name_is_suggested():
    with pytest.raises(StudyError, match="did you mean 'kyphoplasty-pmma'"):
        read_study("kyphoplasty-pma")


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "study.toml"
    path.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(StudyError, match="UTF-8"):
        read_study(path)


def test_scan_paths_start_from_the_study_file_and_typed_ones_from_here(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    for name in ("there/image.nii", "there/labels.nii", "image.nii", "labels.nii"):
        (tmp_path / name).touch()
    path = tmp_path / "there" / "study.toml"
    path.write_text('[specimen]\nscan = "image.nii"\nlabels = "labels.nii"')
    monkeypatch.chdir(tmp_path)
    assert read_study(path).specimen.scan == str(tmp_path / "there" / "image.nii")
    typed = read_study(path, ["specimen.scan=image.nii", "specimen.labels=labels.nii"])
    assert typed.specimen.scan == str(tmp_path / "image.nii")
    path.write_text(to_toml(typed))
    assert read_study(path) == typed


def test_settings_are_applied_and_blamed(study):
    text = "[[cycling]]\ncount = 500"
    assert study(text, "cycling.0.count=0", "cement.card=pmma-low-modulus").cycling[0].count == 0
    assert study("", "cycling.0.count=7").cycling[0].count == 7
    assert [block.count for block in study(text, "cycling.1.count=9").cycling] == [500, 9]
    assert study(text, "cement={volume_ml=3.0}").cement.volume_ml == 3.0
    with pytest.raises(StudyError, match=r"^--set cycling\.0\.cunt=0: .*did you mean 'count'"):
        study(text, "cycling.0.cunt=0")
    with pytest.raises(StudyError, match=r"case_a\.toml:1 with --set cycling\.0\.max_n=50: .*min_n = 100 N"):
        study(text, "cycling.0.max_n=50")


def test_a_resolved_study_cannot_be_half_overridden(tmp_path):
    path = tmp_path / "case.toml"
    path.write_text(to_toml(read_study("kyphoplasty-pmma-L1")))
    with pytest.raises(StudyError, match="disagree"):
        read_study(path, ["cycling.0.count=3"])


def test_a_study_may_list_its_stages_itself(study):
    spec = study(
        '[[stage]]\nkind = "hold"\nname = "creep"\nforce_n = 1000.0\nduration_s = 60.0\n[[stage]]\nkind = "fracture"\n'
    )
    assert [stage.name for stage in spec.stage] == ["creep", "fracture"]
    assert spec.procedure is None
    assert "[procedure]" not in to_toml(spec)


def test_every_physical_key_ends_in_its_unit_and_has_a_range_and_a_meaning():
    unitless = {"anterior_height_loss", "density_cv", "waist_ratio", "dwell_fraction", "jump_tolerance"}
    unitless |= {
        "residual_tolerance",
        "initial_step",
        "min_step",
        "strength_strain",
        "end_strain",
        "offset_strain",
        "t_score",
    }
    unitless |= {"soft_share", "load_ratio", "needle_depth", "needle_spread", "needle_height"}
    for model in _models(StudySpec):
        for key, field in model.model_fields.items():
            if "float" in str(field.annotation) and "dict" not in str(
                field.annotation
            ):  # of constants, or checked one by one
                assert unit_of(key) or key in unitless, f"{model.__name__}.{key}"
                assert any(hasattr(item, "le") for item in field.metadata), f"{model.__name__}.{key}"
            assert field.description or model is StudySpec or key == "kind", f"{model.__name__}.{key}"


def _models(model):
    from kyphos.experiments.plan import KINDS
    from kyphos.experiments.tables import Table

    yield model
    for found in (*Table.__subclasses__(), *KINDS.values()):
        if found is not model:
            yield found


def test_the_name_of_a_file_becomes_a_study_name(tmp_path):
    path: Path = tmp_path / "my first study.toml"
    path.write_text("")
    assert read_study(path).name == "my-first-study"


VOXELS = '[specimen]\nlevels = ["L2"]\nscan = "sample:verse004_L2"\n'
STRENGTH = '[[stage]]\nkind = "voxel_strength"\n'


def test_stages_on_voxels_stand_by_themselves(study):
    spec = study(VOXELS + STRENGTH)
    assert spec.on_voxels
    assert [stage.name for stage in spec.voxel_stages] == ["voxel_strength"]
    assert spec.body_stages == ()
    assert (spec.fracture, spec.procedure, spec.cycling) == (None, None, None)
    assert not read_study("untreated").on_voxels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (VOXELS + STRENGTH + '[[stage]]\nkind = "hold"\nforce_n = 100.0', "'hold' acts on a meshed body"),
        (VOXELS + "[fracture]\n" + STRENGTH, "[fracture] is for a meshed body"),
        (VOXELS + "[[cycling]]\ncount = 5\n" + STRENGTH, "[cycling] is for a meshed body"),
        (STRENGTH, "need a CT: name scan"),
        (VOXELS + STRENGTH + "offset_anterior_mm = 3.0", "unknown key 'offset_anterior_mm'"),
        (VOXELS + STRENGTH + "end_strain = 0.9", "end_strain = 0.9 is outside 0.003 to 0.1"),
        (VOXELS + STRENGTH * 2, "two stages are named 'voxel_strength'"),
    ],
)
def test_wrong_combinations_on_voxels_are_refused(text, expected, study):
    with pytest.raises(StudyError) as error:
        study(text)
    assert expected in str(error.value)


def test_a_study_may_change_constants_of_cards(study, tmp_path):
    spec = study("[materials.trabecular]\ncreep_coefficient = 0.1\n[materials.pmma]\nyoungs_modulus_mpa = 2800.0\n")
    assert spec.constants == {"trabecular": {"creep_coefficient": 0.1}, "pmma": {"youngs_modulus_mpa": 2800.0}}
    path = tmp_path / "again.toml"
    path.write_text(to_toml(spec))
    assert read_study(path) == spec
    assert study_hash(spec) != study_hash(study("[materials.pmma]\nyoungs_modulus_mpa = 2800.0\n"))
    assert study("").constants == {}


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("materials.trabecular.creep_coefficient=9.0", r"is outside \[0.03, 0.3\]"),
        ("materials.trabecula.creep_coefficient=0.1", "did you mean 'trabecular'"),
        ("materials.trabecular.creep=0.1", "unknown name 'creep'"),
        ("materials.trabecular.creep_coefficient=soft", "must be a number"),
    ],
)
def test_a_constant_that_no_card_allows_is_refused(study, setting, told):
    with pytest.raises(StudyError, match=told) as refused:
        study("", setting)
    assert f"--set {setting}" in str(refused.value)
