"""Manifests of Kubernetes."""

__all__ = ["POD"]

POD = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: app
    image: nginx
    resources:
      requests: {memory: 64Mi, cpu: 100m}
      limits: {memory: 128Mi}
  - name: side
    resources: {limits: {memory: 32Mi, cpu: 1}}
---
kind: Service
"""
