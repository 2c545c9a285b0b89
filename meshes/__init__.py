"""Room ``meshes`` of Kyphos."""

if __name__ != "kyphos.meshes":
    raise ImportError("import kyphos.meshes, not meshes: two copies of a class would not match")
