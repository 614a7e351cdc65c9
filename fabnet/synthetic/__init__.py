"""The bundled synthetic data: procedural talking faces with known pose, landmarks, action units and expression."""
